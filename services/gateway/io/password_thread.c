#include "io/password_thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "users/password.h"

typedef struct job {
        rq_list node;
        uint64_t id;
        bool fits;
        size_t hash_bytes, password_size; /* hash with its NUL, then the password */
        char text[];
} job;

struct password_thread {
        pthread_t thread;
        pthread_mutex_t lock;     /* of what follows, up to stop */
        pthread_cond_t wanted;
        rq_list first, todo, done; /* first: of todo, in front */
        bool stop;
        bool running;             /* the loop's from here on */
        size_t count;
        rq_wake wake;
        void (*on_checked)(void *arg, uint64_t job, bool fits);
        void *arg;
};

static void job_free(job *j) {
        explicit_bzero(j->text, j->hash_bytes + j->password_size);
        free(j);
}

static job *first_of(rq_list *list) {
        if (rq_list_empty(list))
                return NULL;
        rq_list *node = list->next;
        rq_list_remove(node);
        return RQ_LIST_ENTRY(node, job, node);
}

static void *work(void *arg) {
        password_thread *t = arg;
        (void) pthread_mutex_lock(&t->lock);
        while (!t->stop) {
                job *j = first_of(rq_list_empty(&t->first) ? &t->todo : &t->first);
                if (j == NULL) {
                        (void) pthread_cond_wait(&t->wanted, &t->lock);
                        continue;
                }
                (void) pthread_mutex_unlock(&t->lock);
                j->fits = rq_password_fits_hash(j->text, rq_bytes_of(j->text + j->hash_bytes, j->password_size));
                (void) pthread_mutex_lock(&t->lock);
                rq_list_append(&t->done, &j->node);
                rq_wake_signal(&t->wake);
        }
        (void) pthread_mutex_unlock(&t->lock);
        return NULL;
}

static void on_wake(void *arg) {
        password_thread *t = arg;
        for (;;) {
                (void) pthread_mutex_lock(&t->lock);
                job *j = first_of(&t->done);
                (void) pthread_mutex_unlock(&t->lock);
                if (j == NULL)
                        return;
                uint64_t id = j->id;
                bool fits = j->fits;
                t->count--;
                job_free(j);
                t->on_checked(t->arg, id, fits);
        }
}

rq_err password_thread_new(rq_loop *loop, void (*on_checked)(void *arg, uint64_t job, bool fits), void *arg, password_thread **ret_thread) {
        password_thread *t = calloc(1, sizeof *t);
        if (t == NULL)
                return RQ_ENOMEM;
        rq_list_init(&t->first);
        rq_list_init(&t->todo);
        rq_list_init(&t->done);
        t->on_checked = on_checked;
        t->arg = arg;
        (void) pthread_mutex_init(&t->lock, NULL);
        (void) pthread_cond_init(&t->wanted, NULL);
        rq_err r = rq_wake_init(&t->wake, loop, on_wake, t);
        if (r >= 0) {
                int error = pthread_create(&t->thread, NULL, work, t);
                t->running = error == 0;
                r = error == 0 ? RQ_OK : rq_err_from_errno(error);
                if (t->running)
                        (void) pthread_setname_np(t->thread, "passwords");
        } else {
                t->wake = (rq_wake) { .fd = -1 };
        }
        if (r < 0) {
                (void) password_thread_free(t);
                return r;
        }
        *ret_thread = t;
        return RQ_OK;
}

password_thread *password_thread_free(password_thread *t) {
        if (t == NULL)
                return NULL;
        if (t->running) {
                (void) pthread_mutex_lock(&t->lock);
                t->stop = true;
                (void) pthread_cond_signal(&t->wanted);
                (void) pthread_mutex_unlock(&t->lock);
                (void) pthread_join(t->thread, NULL);
        }
        for (job *j; (j = first_of(&t->first)) != NULL || (j = first_of(&t->todo)) != NULL || (j = first_of(&t->done)) != NULL;)
                job_free(j);
        rq_wake_done(&t->wake);
        (void) pthread_cond_destroy(&t->wanted);
        (void) pthread_mutex_destroy(&t->lock);
        free(t);
        return NULL;
}

rq_err password_thread_check(password_thread *t, uint64_t id, const char *hash, rq_bytes password, bool first) {
        size_t hash_bytes = strlen(hash) + 1;
        if (t->count >= PASSWORD_JOBS_MAX)
                return RQ_EFULL;
        job *j = malloc(sizeof *j + hash_bytes + password.size);
        if (j == NULL)
                return RQ_ENOMEM;
        *j = (job) { .id = id, .hash_bytes = hash_bytes, .password_size = password.size };
        memcpy(j->text, hash, hash_bytes);
        if (password.size > 0)
                memcpy(j->text + hash_bytes, password.data, password.size);
        t->count++;
        (void) pthread_mutex_lock(&t->lock);
        rq_list_append(first ? &t->first : &t->todo, &j->node);
        (void) pthread_cond_signal(&t->wanted);
        (void) pthread_mutex_unlock(&t->lock);
        return RQ_OK;
}

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/checks.h"

static const char check[] = "folders";

static void close_dirp(DIR **dir) {
        if (*dir != NULL)
                (void) closedir(*dir);
}

static const char *user_name(uid_t uid, char *buf, size_t size) {
        const struct passwd *user = getpwuid(uid);
        if (user != NULL)
                (void) snprintf(buf, size, "%s", user->pw_name);
        else
                (void) snprintf(buf, size, "user %lu", (unsigned long) uid);
        return buf;
}

/* A service that was once started by root leaves files behind that it can't
 * open as its own user. */
static void check_owners(findings *f, const char *path, uid_t owner) {
        RQ_CLEANUP(close_dirp) DIR *dir = opendir(path);
        char of_file[64], of_folder[64];
        struct stat st;
        size_t others = 0;
        if (dir == NULL)
                return; /* was said */
        if (owner == 0)
                return; /* root opens them all; and under the units each folder below root's has an owner of its own */
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_uid == owner)
                        continue;
                if (++others > 1) /* one is enough to know */
                        continue;
                finding *found = findings_add(f, check, FINDING_CRITICAL, "%s/%s belongs to %s, its folder to %s", path, entry->d_name,
                                              user_name(st.st_uid, of_file, sizeof of_file), user_name(owner, of_folder, sizeof of_folder));
                finding_remedy(found, "chown -R %s %s", of_folder, path);
        }
}

/* Returns whether it is there. */
static bool check_folder(findings *f, const char *path, bool is_private) {
        char user[64];
        struct stat st;
        if (stat(path, &st) < 0) {
                if (errno == ENOENT)
                        return false;
                finding *found = findings_add(f, check, FINDING_UNKNOWN, "%s can't be looked at: %s", path, strerror(errno));
                if (errno == EACCES)
                        finding_remedy(found, "run rqd doctor as root or as the user of the services");
                return false;
        }
        if (!S_ISDIR(st.st_mode)) {
                (void) findings_add(f, check, FINDING_CRITICAL, "%s is no folder", path);
                return false;
        }
        if (is_private && (st.st_mode & 077) != 0) {
                finding *found = findings_add(f, check, FINDING_WARNING, "%s has mode %04o: others can read the data", path, st.st_mode & 07777u);
                finding_remedy(found, "chmod 0700 %s", path);
        }
        if (access(path, R_OK | W_OK | X_OK) == 0) {
                (void) findings_add(f, check, FINDING_OK, "%s belongs to %s, mode %04o", path, user_name(st.st_uid, user, sizeof user), st.st_mode & 07777u);
        } else if (geteuid() == st.st_uid || errno == EROFS) {
                (void) findings_add(f, check, FINDING_CRITICAL, "%s can't be written by its owner: %s", path, strerror(errno));
        } else {
                finding *found = findings_add(f, check, FINDING_UNKNOWN, "%s belongs to %s, and isn't open to this user", path,
                                              user_name(st.st_uid, user, sizeof user));
                finding_remedy(found, "run rqd doctor as root or as that user");
        }
        if (is_private)
                check_owners(f, path, st.st_uid);
        return true;
}

static void check_parent(findings *f, const char *data_dir) {
        char parent[PATH_MAX];
        (void) snprintf(parent, sizeof parent, "%s", data_dir);
        char *slash = strrchr(parent, '/');
        slash[slash == parent ? 1 : 0] = '\0';
        if (access(parent, W_OK | X_OK) == 0)
                (void) findings_add(f, check, FINDING_OK, "%s doesn't exist yet; it can be made in %s", data_dir, parent);
        else
                (void) findings_add(f, check, errno == EROFS ? FINDING_CRITICAL : FINDING_WARNING, "%s doesn't exist, and this user can't make it in %s: %s",
                                    data_dir, parent, strerror(errno));
}

/* One of the two without the other is not of one copy. */
static void check_pair(findings *f, const char *data_dir, bool consensus, bool store) {
        if (consensus == store)
                return;
        finding *found = findings_add(f, check, FINDING_CRITICAL, "%s has %s but not %s", data_dir, consensus ? "consensus/" : "store/",
                                      consensus ? "store/" : "consensus/");
        finding_remedy(found, "restore both from one copy, or begin this node anew in its cluster with an empty folder");
}

static void check_file_mode(findings *f, const rq_config *config, const char *flag) {
        const char *path = rq_config_string(config, flag);
        struct stat st;
        if (path[0] == '\0')
                return;
        if (stat(path, &st) < 0) {
                (void) findings_add(f, "files", errno == EACCES ? FINDING_UNKNOWN : FINDING_CRITICAL, "-%s %s: %s", flag, path, strerror(errno));
        } else if ((st.st_mode & 007) != 0) {
                finding *found = findings_add(f, "files", FINDING_CRITICAL, "-%s %s has mode %04o: every user can %s it", flag, path,
                                              st.st_mode & 07777u, (st.st_mode & 002) != 0 ? "change" : "read");
                finding_remedy(found, "chmod o= %s", path);
        } else {
                (void) findings_add(f, "files", FINDING_OK, "-%s %s has mode %04o", flag, path, st.st_mode & 07777u);
        }
}

void check_folders(findings *f, const rq_config *config) {
        static const char *const names[] = { "consensus", "store", "gateway" };
        static const char *const secrets[] = { "auth", "http-key", "node-key" };
        const char *data_dir = rq_config_data_dir(config);
        bool there[3] = { false, false, false };
        char path[PATH_MAX];
        struct stat st;
        if (stat(data_dir, &st) < 0 && errno == ENOENT) {
                check_parent(f, data_dir);
        } else if (check_folder(f, data_dir, false)) { /* its folders are private, it may be shared by their users */
                for (size_t i = 0; i < 3; i++) {
                        (void) snprintf(path, sizeof path, "%s/%s", data_dir, names[i]);
                        there[i] = check_folder(f, path, true);
                }
                if (access(data_dir, X_OK) == 0)
                        check_pair(f, data_dir, there[0], there[1]);
        }
        for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
                check_file_mode(f, config, secrets[i]);
}

/* Faults that are aimed: rare ones by chance, each of them a short play against
 * who leads, on the places where a rule of Raft is thin: figure 3.7 of the thesis,
 * a lease that outlives its leader, acknowledgements of another round, a leader that
 * leads its own removal, many configurations in one append. Mode "duel". */
#ifndef RQ_SIM_DUELS_H
#define RQ_SIM_DUELS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct world world;

typedef enum duel_play {
        DUEL_TRANSFER_AND_CUT,  /* the old leader doesn't hear that there is a new one */
        DUEL_SLOW_AND_CUT,      /* answers take longer and longer, then nothing gets out */
        DUEL_OLDER_TERM,        /* figure 3.7: an older entry reaches a majority, then its leader goes */
        DUEL_OWN_REMOVAL,       /* one voter stays, restarts and is alone */
        DUEL_LATE_MEMBER,       /* misses many changes of members */
        DUEL_NEEDED,            /* who is behind the log is needed for a majority, and the leader has started anew */
        DUEL_PLAYS,
} duel_play;

typedef struct duels {
        duel_play play;
        unsigned step, repeats;
        unsigned target;         /* the leader that it is about: clients like to ask it */
        unsigned rival;          /* who followed it, or who shall */
        uint64_t slow_us;
        uint64_t until_us;       /* a step that waits for something gives up */
        bool on;
} duels;

void duels_start(world *w);
void duels_on_duel(world *w);    /* the next step is due */

#endif

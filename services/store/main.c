/* rq-store: owns the database file; applies what is committed, answers reads. */
#include "service.h"

int main(int argc, char **argv) { return rq_service_main(argc, argv, &store_service); }

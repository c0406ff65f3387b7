/* Probes of the cage: each thing that the process must not be able to do is
 * tried, and what came of it is written to the file "probe" of the card, as
 * "NAME WORD" with "done" or what errno says. */
#ifndef PROBE_H
#define PROBE_H

void probe(void);

#endif

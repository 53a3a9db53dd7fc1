// Package scenario holds what is measured. A scenario starts nothing itself: it is given a server process and
// a fleet of clients, both fresh, measures, and fills a Sample with numbers.
//
// What is the same for all: connections are dialled before anything is timed, unless dialling is what is
// timed; there is a warm-up; every message is checked, and a fault is an error of the sample; CPU time of the
// server and of the clients is read from the processes' own clocks at both ends of the measured time.
package scenario

// Package scenario defines what is measured. A scenario gets a new server process and a new fleet of clients, measures,
// and fills in a Sample.
//
// In all scenarios, connections are dialled before the measured time, unless dialling is measured; there is a warm-up;
// every message is checked, and a fault is an error of the sample; the CPU time of the server and of the clients is read
// from the clocks of the processes at both ends of the measured time.
package scenario

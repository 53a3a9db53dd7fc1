// Package storm kills one of two nodes of a cluster, whose sessions all come back to the other one, and measures how
// long that takes, what the healthy sessions of the other node notice, and how often the backend of the connect hook is
// asked: without and with resume tickets.
//
// A session is current when hello has named the offset at which its inbox goes on. Clients reconnect at a random time
// within Options.Spread.
package storm

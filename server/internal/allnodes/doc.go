// Package allnodes has a command executed on all nodes of a cluster, this one among them, and adds
// up what they answer: lists of users, topics, sessions and nodes, paced broadcasts and closes, and
// traces. It knows neither sessions nor connections: this process, and during a handover the other
// one, are functions in [Config].
//
// # Contract
//
// A method returns when this process has executed the command and the other nodes concerned have
// answered, or the Cluster waits no longer for them. What is missing then is in the Coverage. An
// error says that nothing was done anywhere, unless a method says more.
//
// Errors of this process keep their identity; what another one could not do makes it a missing
// node.
package allnodes

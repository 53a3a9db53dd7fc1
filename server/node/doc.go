// Package node is the contract between a server and the other nodes of its cluster: the
// commands that one node asks of others, what they answer, and the [Cluster] that carries
// both. Package server has aliases for the types that its users need.
//
// Package cluster implements Cluster over NATS. A program that embeds the server may bring
// another implementation. A server executes the commands of its Cluster, and those of the
// other process of a handover, by the same rules: [Check] says what a command must look
// like, whoever has sent it.
//
// # Borrowed memory
//
// A Cluster keeps nothing of a Command after Ask has returned. The Node that serves one may
// keep it, with its payload.
package node

// Package node is the contract between a server and the other nodes of its cluster: the
// commands that one node asks of others, what they answer, and the [Cluster] that carries
// both. Package server has aliases for the types that its users need.
//
// Package cluster implements Cluster over NATS. A program that embeds the server may bring
// another implementation. A server executes the commands of its Cluster, and those of the
// other process of a handover, by the same rules: [Check] says what a command must look
// like, whoever has sent it.
//
// # Two ways to ask all nodes
//
// New questions are VerbInquire and VerbOperate with a document, while VerbSessions,
// VerbSubscribers, VerbPresence, VerbTopicUsers, VerbDescribe and VerbReceipt stay verbs of
// their own: nodes of the previous version ask with them and answer nothing else, so during
// a rolling upgrade both ways must work, and one way would make answers incomplete.
//
// # Borrowed memory
//
// A Cluster keeps nothing of a Command after Ask has returned. The Node that serves one may
// keep it, with its payload.
package node

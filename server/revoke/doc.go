// Package revoke holds revocations: entries that say which identities are not accepted any
// more, although their tokens have not expired.
//
//	list, err := revoke.New(revoke.Config{Age: 30 * 24 * time.Hour, Store: st.Revocations()})
//	…
//	srv, err := server.New(server.Config{Revocations: list, …})
//	srv.Revoke(ctx, revoke.Entry{User: "alice", Before: 1893456000})
//
// # Contract
//
// An Entry names a user, a token, or, with a time of issue, all identities. Two entries for
// the same are one: the later Before and the later Expires count, so that a repeated or
// reordered request never permits what another has revoked.
//
// List.Add returns when the entry is in the Store. A List looks for changes that other
// nodes have made in the Store every two seconds, beyond those that it is told of by Apply
// and Forget. Until it has read the Store once, Check returns Unknown, and the server accepts
// no session. While the Store is away later, the entries that were read stay in force. If
// the Store has lost its entries, the List puts back what it knows.
//
// Without a Store the entries are in memory only, and are lost with the process.
//
// # Limitations
//
// Config.Entries is checked by each node for itself: nodes that add at the same moment may
// exceed it by as many entries. A node that loses its connection to the Store and to the
// other nodes does not learn of new entries until one of the two is back.
package revoke

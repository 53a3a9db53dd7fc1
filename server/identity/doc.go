// Package identity says whose session a connection is, and what its client may do by itself:
// [Identity] is what an Identifier of package server returns, and [Change] changes it for
// open sessions. Package server has aliases for what its users need.
//
// Names of topics in a list are patterns: one that ends with "*" stands for every name with
// that prefix, see [Covers]. Sessions with equal [Capabilities] share them, and a session
// whose client may do nothing has [None].
package identity

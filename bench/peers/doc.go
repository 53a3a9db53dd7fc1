// Package peers holds the servers that fanfare is compared with. Each is one file, written the way that its
// library's own documentation or the article that made the design known recommends, and serves the same two
// addresses as fanfare does (package servers names the paths).
//
// What they share is what any application on top of such a library would have to write: a hub of users and
// topics, and the HTTP API. The hub is as small as can be, so that the memory measured is the library's.
// All of them ping their connections and give up those that do not answer.
package peers

// Package peers has the servers that fanfare is compared with. Each is one file, written as the documentation of its
// library, or the article that made the design known, recommends. All serve the interface of package servers.
//
// They share what any application of such a library has to write: a hub of users and topics, and the HTTP API. The hub is
// as small as possible, so that the measured memory is that of the library. All of them ping their connections and close
// a connection that does not answer.
package peers

// Package console is the test console: a web page that connects to the endpoints of a
// server and shows what is pushed.
//
//	page := &console.Page{Endpoints: cfg.Endpoints}
//	cfg.Fallback = page
//
// # Contract
//
//   - A [Page] is an http.Handler for server.Config.Fallback. It answers at one path, and 404
//     at every other.
//   - The page loads nothing from other sites. Its Content-Security-Policy allows its own
//     script and style, by their hashes, and connections to its own server.
//   - It speaks fanfare.v1 or receives plain messages, shows the state of its session, and
//     says why a handshake was rejected or a session closed.
//   - It pushes only if Page.Authorizes is set, and then each push needs a key, which the page
//     keeps in its form and nowhere else. Otherwise it shows a curl command.
//   - The address of the API is disclosed only if it is loopback.
//
// # Limitations
//
//   - The page has a client of its own, not that of client/js: it speaks plain messages, too,
//     and shows what a library hides, such as duplicates and close codes.
//   - The page pushes text, and no durable messages to users.
//   - It keeps the last 500 messages, and shows 4,096 characters of each.
package console

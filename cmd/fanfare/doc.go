// Command fanfare is the push server as a program.
//
//	fanfare serve                    run the server
//	fanfare check                    check the configuration of serve, and show what is in force
//	fanfare health [URL]             ask a server whether it works
//	fanfare push USER [MESSAGE]      push to a user, or with --topic publish to a topic
//	fanfare broadcast [MESSAGE]      send to every session
//	fanfare users USER…              show users' sessions, one line of JSON per user
//	fanfare upgrade                  replace the running server without a disconnect
//	fanfare version                  print the version
//
// push and broadcast print the number of sessions that received the message; a message
// that is not an argument is read from the standard input. They and users call the API
// at --api, with the first key of --api-key-file or the one in FANFARE_API_KEY.
//
// Every flag can be given on the command line, as an environment variable
// (--ping-interval is FANFARE_PING_INTERVAL), or in the JSON file that --config names
// ({"ping-interval": "30s"}), in this order of precedence. An empty variable counts as
// unset. A flag that has no effect in combination with the others is an error, and so is
// an unknown or repeated key of the file; an unknown variable is logged.
//
// SIGHUP reads all of them again, and the files of keys, and changes what can change while
// the server runs; if anything is wrong, it changes nothing. It notifies a service manager when
// the server is ready, reloads and stops (sd_notify(3)), and accepts listeners from it
// (sd_listen_fds(3)).
//
// SIGUSR2 replaces the process, as fanfare upgrade does: a new process, of the program file
// and the configuration as they are then, takes over the listeners and all sessions. If that
// fails, this one goes on.
//
// With --keep the server is a child process. When that dies, its parent starts it again, and
// the sessions that were between two messages go on.
//
// SIGTERM and SIGINT drain: the program answers /readyz with 503 for --drain-delay, stops
// accepting, closes its sessions at --drain-rate and exits with 0. A second signal ends
// it at once.
//
// Exit codes: 0 success; 1 failure, such as a port in use, an API that does not answer, or
// a server that is not healthy; 2 wrong flags, environment or config file; 3 a user that
// users was asked for is not connected.
package main

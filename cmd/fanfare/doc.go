// Command fanfare is the push server as a program.
//
//	fanfare serve                    run the server
//	fanfare push USER [MESSAGE]      push to a user, or with --topic to a topic
//	fanfare broadcast [MESSAGE]      push to everybody
//	fanfare users USER…              tell who is connected, a line of JSON each
//	fanfare version                  print the version
//
// push and broadcast print how many connections got the message; a message that
// is not given is read from the standard input. The three of them talk to the API
// at --api, with the first key of --api-key-file or the one in FANFARE_API_KEY.
//
// Every flag can be given on the command line, as an environment variable
// (--ping-interval is FANFARE_PING_INTERVAL), or in the JSON file that --config
// names ({"ping-interval": "30s"}); the first of them that has it wins.
//
// SIGTERM and SIGINT drain: the program stops accepting, closes its connections
// in paced batches and ends with 0. A second signal ends it at once.
//
// Exit codes: 0 done; 1 it did not work (port in use, API out of reach or
// unwilling); 2 wrong flags, environment or config file; 3 users: somebody is not
// connected.
package main

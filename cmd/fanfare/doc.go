// Command fanfare is the push server as a program.
//
//	fanfare serve      run the server
//	fanfare version    print the version
//
// Every flag can be given on the command line, as an environment variable
// (--ping-interval is FANFARE_PING_INTERVAL), or in the JSON file that --config
// names ({"ping-interval": "30s"}); the first of them that has it wins.
//
// SIGTERM and SIGINT drain: the program stops accepting, closes its connections
// in paced batches and ends with 0. A second signal ends it at once.
//
// Exit codes: 0 done; 1 it did not work (port in use); 2 wrong flags,
// environment or config file.
package main

package listen_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"fanfare/server/listen"
)

// A Unix socket for the members of a group.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "listen")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "fanfare.sock")
	ln, err := listen.Open("unix:" + path + "?mode=0660")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	info, err := os.Stat(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ln.Addr().Network(), info.Mode().Perm())
	// Output: unix -rw-rw----
}

func ExampleValidate() {
	fmt.Println(listen.Validate("127.0.0.1:http"))
	fmt.Println(listen.Validate("127.0.0.1"))
	// Output:
	// <nil>
	// "127.0.0.1" is not an address: want HOST:PORT, with a port up to 65535, or unix:PATH
}

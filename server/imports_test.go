package server

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// forbidden are the imports that would undo the structure: they go one way, cmd →
// server → {netpoll, frame, registry}, and the three leaves know nothing of each
// other, so that each can be understood, tested and replaced alone.
var forbidden = []struct{ from, to, why string }{
	{"netpoll", "fanfare/frame", "the poller moves bytes, what they mean is not its business"},
	{"netpoll", "fanfare/registry", "the poller knows connections, not who they belong to"},
	{"netpoll", "fanfare/server", "imports go one way"},
	{"netpoll", "github.com/gobwas/ws", "the poller moves bytes, what they mean is not its business"},
	{"frame", "fanfare/netpoll", "the codec takes bytes: no descriptor and no reader can make it wait"},
	{"frame", "fanfare/registry", "the codec knows no sessions"},
	{"frame", "fanfare/server", "imports go one way"},
	{"frame", "net", "the codec takes bytes: no descriptor and no reader can make it wait"},
	{"registry", "fanfare/netpoll", "the registry never sees a socket"},
	{"registry", "fanfare/frame", "the registry never sees a message"},
	{"registry", "fanfare/server", "imports go one way"},
	{"registry", "net", "the registry never sees a socket"},
	{"server", "fanfare/cmd", "imports go one way"},
	{"cmd", "fanfare/netpoll", "the program sees the server, not what it is made of"},
	{"cmd", "fanfare/frame", "the program sees the server, not what it is made of"},
	{"cmd", "fanfare/registry", "the program sees the server, not what it is made of"},
}

func TestImports(t *testing.T) {
	root := os.DirFS("..")
	seen := map[string]bool{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		top, _, inside := strings.Cut(name, "/")
		if err != nil || !inside || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		src, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path.Join("..", name), src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			to, _ := strconv.Unquote(spec.Path.Value)
			seen[top+" → "+to] = true
			for _, rule := range forbidden {
				if top == rule.from && (to == rule.to || strings.HasPrefix(to, rule.to+"/")) && to != "net/netip" && to != "net/url" {
					t.Errorf("%s imports %s: %s", name, to, rule.why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cmd → fanfare/server", "server → fanfare/netpoll", "server → fanfare/frame", "server → fanfare/registry"} {
		if !seen[want] {
			t.Errorf("no import %s was seen: the test looks in the wrong place", want)
		}
	}
}

package server

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// forbidden are the imports that would undo the structure. Arrows point downward: cmd →
// {api, auth, inbox, cluster, console, fasthttpmount} → server → {internal, store, netpoll,
// frame, registry}, and the three leaves know nothing of each other, so that each can be
// understood, tested and replaced alone. A rule holds for the folder and those below it,
// unless it names the package alone.
var forbidden = []struct {
	from  string
	alone bool
	to    string
	why   string
}{
	{"netpoll", false, "fanfare/frame", "the poller moves bytes without knowing what they mean"},
	{"netpoll", false, "fanfare/registry", "the poller knows connections, not users"},
	{"netpoll", false, "fanfare/server", "arrows point downward"},
	{"netpoll", false, "github.com/gobwas/ws", "the poller moves bytes without knowing what they mean"},
	{"frame", false, "fanfare/netpoll", "the codec takes bytes: no descriptor and no reader can block it"},
	{"frame", false, "fanfare/registry", "the codec knows no sessions"},
	{"frame", false, "fanfare/server", "arrows point downward"},
	{"frame", false, "net", "the codec takes bytes: no descriptor and no reader can block it"},
	{"registry", false, "fanfare/netpoll", "the registry sees no socket"},
	{"registry", false, "fanfare/frame", "the registry sees no message"},
	{"registry", false, "fanfare/server", "arrows point downward"},
	{"registry", false, "net", "the registry sees no socket"},
	{"server", false, "fanfare/cmd", "arrows point downward"},
	{"server", true, "fanfare/server/api", "an embedder brings an HTTP API of its own"},
	{"server", true, "fanfare/server/auth", "an embedder identifies users itself"},
	{"server", true, "fanfare/server/inbox", "an embedder may bring another store"},
	{"server", true, "fanfare/server/cluster", "an embedder may be alone"},
	{"server", true, "fanfare/server/console", "the console is for developers"},
	{"server", true, "fanfare/server/fasthttpmount", "an embedder on net/http links no fasthttp"},
	{"server/internal/handshake", false, "fanfare/netpoll", "requests and responses are bytes; no connection can block it"},
	{"server/internal/replay", false, "fanfare/netpoll", "replay knows a store and a receiver by interface only"},
	{"server/store", false, "fanfare/server/internal", "the contract stands alone"},
	{"server/inbox", false, "fanfare/server/api", "arrows point downward"},
	{"server/cluster", false, "fanfare/server/inbox", "a store and a cluster are chosen apart"},
	{"cmd", false, "fanfare/netpoll", "the program sees the server, not its parts"},
	{"cmd", false, "fanfare/frame", "the program sees the server, not its parts"},
	{"cmd", false, "fanfare/registry", "the program sees the server, not its parts"},
}

// linked are the modules that a program which embeds package server must not link, with
// what it would pay.
var linked = map[string]string{
	"github.com/nats-io/":         "a NATS server is 15 MB of program, and a store may be another one",
	"github.com/prometheus/":      "an embedder has metrics of its own; Server.Stats has the numbers",
	"github.com/valyala/fasthttp": "a second HTTP server, for embedders that have one",
	"github.com/golang-jwt/":      "an embedder identifies users itself",
	"fanfare/server/inbox":        "the store is the embedder's choice",
	"fanfare/server/cluster":      "the cluster is the embedder's choice",
	"github.com/alecthomas/kong":  "flags belong to the program",
	"github.com/KimMachineGun/":   "a library must not set limits of the process",
}

// TestDependencies asks the go command what package server links.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "fanfare/server").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "fanfare/netpoll") {
		t.Fatalf("go list names no fanfare/netpoll: the test looks in the wrong place:\n%s", out)
	}
	for _, dep := range deps {
		for module, why := range linked {
			if strings.HasPrefix(dep, module) {
				t.Errorf("package server links %s: %s", dep, why)
			}
		}
	}
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
			dir := path.Dir(name)
			for _, rule := range forbidden {
				inside := dir == rule.from || !rule.alone && strings.HasPrefix(dir, rule.from+"/")
				if inside && (to == rule.to || strings.HasPrefix(to, rule.to+"/")) && to != "net/netip" && to != "net/url" {
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

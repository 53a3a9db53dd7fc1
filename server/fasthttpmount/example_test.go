package fasthttpmount_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/fasthttpmount"
)

// A push endpoint beside the other routes of a fasthttp server.
func ExampleHandler() {
	srv, err := server.New(server.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	mount, err := srv.Mount(server.Endpoint{
		Identifier: server.FromQuery, NonBlocking: true, // FromQuery is for development
		Hooks: server.Hooks{OnOpen: func(s *server.Session) {
			s.Send(server.Text, []byte("hello "+s.User()))
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	push := fasthttpmount.Handler(mount)
	app := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case "/ws":
			push(ctx)
		default:
			ctx.Error("not found", fasthttp.StatusNotFound)
		}
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go app.Serve(ln)
	defer app.Shutdown()

	c, br, _, err := ws.Dial(context.Background(), "ws://"+ln.Addr().String()+"/ws?user=alice")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	var r io.Reader = c
	if br != nil { // the message came with the answer to the handshake
		r = br
	}
	text, err := wsutil.ReadServerText(struct {
		io.Reader
		io.Writer
	}{r, c})
	fmt.Println(string(text), err)
	// Output: hello alice <nil>
}

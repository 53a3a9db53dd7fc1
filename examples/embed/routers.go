package embed

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/fasthttpmount"
)

func inNetHTTP(mount *server.Mount) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /ws", mount)
	return mux
}

func inChi(mount *server.Mount) http.Handler {
	router := chi.NewRouter()
	router.Method(http.MethodGet, "/ws", mount)
	return router
}

func inGin(mount *server.Mount) http.Handler {
	router := gin.New()
	router.GET("/ws", gin.WrapH(mount))
	return router
}

func inFastHTTP(mount *server.Mount) fasthttp.RequestHandler {
	push := fasthttpmount.Handler(mount)
	return func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case "/ws":
			push(ctx)
		default:
			ctx.NotFound()
		}
	}
}

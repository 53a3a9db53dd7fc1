package handshake

import (
	"strings"
	"testing"
)

// TestPeers has handshakes in the forms of common clients and proxies. RFC 6455 and
// RFC 9110 leave these forms open, and all are accepted.
func TestPeers(t *testing.T) {
	const required = "|Sec-WebSocket-Key: " + key + "|Sec-WebSocket-Version: 13"
	for _, tt := range []struct{ peer, request string }{
		{"Chrome", "GET /ws HTTP/1.1|Host: h|Connection: Upgrade|Pragma: no-cache|Cache-Control: no-cache|User-Agent: Mozilla/5.0|Upgrade: websocket|Origin: https://h|Sec-WebSocket-Version: 13|Accept-Encoding: gzip, deflate, br, zstd|Accept-Language: de-DE,de;q=0.9|Cookie: a=1; b=2|Sec-WebSocket-Key: " + key + "|Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"},
		{"Firefox", "GET /ws HTTP/1.1|Host: h|Accept: */*|Accept-Encoding: gzip, deflate, br|Sec-WebSocket-Version: 13|Origin: https://h|Sec-WebSocket-Extensions: permessage-deflate|Sec-WebSocket-Key: " + key + "|Connection: keep-alive, Upgrade|Sec-Fetch-Dest: empty|Sec-Fetch-Mode: websocket|Sec-Fetch-Site: same-origin|Pragma: no-cache|Upgrade: websocket"},
		{"Safari, a port in Host", "GET /ws HTTP/1.1|Upgrade: websocket|Connection: Upgrade|Host: h:8080|Origin: http://h:8080" + required},
		{"curl", "GET /ws HTTP/1.1|Host: h|User-Agent: curl/8.5.0|Accept: */*|Upgrade: websocket|Connection: Upgrade" + required},
		{"Python websockets", "GET /ws HTTP/1.1|Host: h|Upgrade: websocket|Connection: Upgrade" + required + "|Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits|User-Agent: Python/3.12 websockets/12.0"},
		{"Python websocket-client, which sends an Origin", "GET /ws HTTP/1.1|Upgrade: websocket|Host: h|Origin: http://h" + required + "|Connection: Upgrade"},
		{"Python aiohttp, which names several protocols", "GET /ws HTTP/1.1|Host: h|Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Version: 13|Sec-WebSocket-Key: " + key + "|Sec-WebSocket-Protocol: a,b"},
		{"ws of Node.js", "GET /ws HTTP/1.1|Sec-WebSocket-Version: 13|Sec-WebSocket-Key: " + key + "|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits|Host: h"},
		{"OkHttp", "GET /ws HTTP/1.1|Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Key: " + key + "|Sec-WebSocket-Version: 13|Sec-WebSocket-Extensions: permessage-deflate|Host: h|Accept-Encoding: gzip|User-Agent: okhttp/4.12.0"},
		{"gorilla/websocket", "GET /ws HTTP/1.1|Host: h|User-Agent: Go-http-client/1.1|Connection: Upgrade|Sec-WebSocket-Key: " + key + "|Sec-WebSocket-Version: 13|Upgrade: websocket"},
		{"gun of Erlang, names in lower case", "GET /ws HTTP/1.1|connection: upgrade|upgrade: websocket|sec-websocket-version: 13|sec-websocket-key: " + key + "|host: h"},
		{"clients of the drafts' time, WebSocket in capitals", "GET /ws HTTP/1.1|Upgrade: WebSocket|Connection: Upgrade|Host: h" + required},
		{"a microcontroller, no space after the colon", "GET /ws HTTP/1.1|Host:h|Upgrade:websocket|Connection:Upgrade|Sec-WebSocket-Key:" + key + "|Sec-WebSocket-Version:13"},
		{"a game engine, an empty line before the request", "|GET /ws HTTP/1.1|Host: h|Upgrade: websocket|Connection: Upgrade" + required},
		{"HAProxy, Connection in lower case", "GET /ws HTTP/1.1|host: h|upgrade: websocket|sec-websocket-key: " + key + "|sec-websocket-version: 13|x-forwarded-for: 192.0.2.1|connection: upgrade"},
		{"nginx, Connection from a map", "GET /ws HTTP/1.1|Upgrade: websocket|Connection: upgrade|Host: h|X-Real-IP: 192.0.2.1|X-Forwarded-For: 192.0.2.1" + required},
		{"Envoy, lower case and its own fields", "GET /ws HTTP/1.1|host: h|connection: Upgrade|upgrade: websocket|sec-websocket-key: " + key + "|sec-websocket-version: 13|x-forwarded-proto: https|x-request-id: 5b2c|x-envoy-expected-rq-timeout-ms: 15000|content-length: 0"},
		{"Apache, which adds hop-by-hop fields", "GET /ws HTTP/1.1|Host: h|Upgrade: websocket|X-Forwarded-Host: h|Connection: Upgrade, Keep-Alive|Keep-Alive: timeout=5" + required},
		{"a forward proxy, an absolute target", "GET http://h/ws HTTP/1.1|Host: h|Proxy-Connection: keep-alive|Upgrade: websocket|Connection: Upgrade" + required},
		{"a gateway that repeats list fields", "GET /ws HTTP/1.1|Host: h|Upgrade: h2c|Upgrade: websocket|Connection: keep-alive|Connection: Upgrade|Sec-WebSocket-Protocol: a|Sec-WebSocket-Protocol: , b" + required},
		{"a later HTTP/1 version", "GET /ws HTTP/1.2|Host: h|Upgrade: websocket|Connection: Upgrade" + required},
		{"the key of RFC 6455, 4.1, 7", "GET /ws HTTP/1.1|Host: h|Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==|Sec-WebSocket-Version: 13"},
	} {
		t.Run(tt.peer, func(t *testing.T) {
			var h Head
			head, rest, err := h.Take([]byte(strings.ReplaceAll(tt.request, "|", "\r\n")+"\r\n\r\n"), 8<<10)
			if err != nil || head == nil || len(rest) > 0 {
				t.Fatalf("%q, %q, %v", head, rest, err)
			}
			var r Request
			if err := r.Parse(head); err != nil {
				t.Fatal(err)
			}
			if err := CheckHost(&r); err != nil {
				t.Error(err)
			}
			if err := Check(&r); err != nil {
				t.Error(err)
			}
			if err := Origins(nil).Check(&r, nil, r.Authority()); err != nil {
				t.Error(err)
			}
			if string(r.Path) != "/ws" {
				t.Errorf("path %q", r.Path)
			}
		})
	}
}

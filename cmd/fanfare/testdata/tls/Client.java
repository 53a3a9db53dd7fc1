import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

// java Client.java URL CA VERSION…: the WebSocket of java.net.http, with one version of TLS after the other.
class Client implements WebSocket.Listener {
    static final List<String> texts = List.of("", "hello", "x".repeat(200), "é".repeat(30000));

    final CompletableFuture<Integer> closed = new CompletableFuture<>();
    final StringBuilder message = new StringBuilder();
    int at;

    public void onOpen(WebSocket socket) {
        socket.request(Long.MAX_VALUE);
        socket.sendText(texts.get(0), true);
    }

    public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
        message.append(part);
        if (!last) return null;
        if (!texts.get(at).contentEquals(message)) {
            closed.completeExceptionally(new Exception("message " + at + " came back with " + message.length() + " characters"));
            return null;
        }
        message.setLength(0);
        if (++at < texts.size()) socket.sendText(texts.get(at), true);
        else socket.sendClose(WebSocket.NORMAL_CLOSURE, "");
        return null;
    }

    public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
        closed.complete(code);
        return null;
    }

    public void onError(WebSocket socket, Throwable error) {
        closed.completeExceptionally(error);
    }

    public static void main(String[] args) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var file = new FileInputStream(args[1])) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        for (int i = 2; i < args.length; i++) {
            var http = HttpClient.newBuilder().sslContext(context)
                .sslParameters(new SSLParameters(null, new String[] {"TLSv" + args[i]})).build();
            var client = new Client();
            http.newWebSocketBuilder().buildAsync(URI.create(args[0]), client).get(60, TimeUnit.SECONDS);
            int code = client.closed.get(60, TimeUnit.SECONDS);
            if (code != 1000 || client.at < texts.size())
                throw new Exception("TLS " + args[i] + ": closed with " + code + " after " + client.at + " messages");
        }
        System.out.println("ok");
        System.exit(0);
    }
}

package interop;

import static interop.SpiffeClient.need;
import static interop.SpiffeClient.said;

import io.spiffe.provider.SpiffeSslContextFactory;
import io.spiffe.provider.SpiffeSslContextFactory.SslContextOptions;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.workloadapi.DefaultX509Source;
import io.spiffe.workloadapi.X509Source;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;

/** Mutual TLS by the security provider of java-spiffe. */
final class MutualTls {
    private MutualTls() {}

    static String dial(SpiffeId own, SpiffeId peer, String address, SpiffeId wrong) throws Exception {
        DefaultX509Source.X509SourceOptions options =
                DefaultX509Source.X509SourceOptions.builder().initTimeout(Fetch.PATIENCE).build();
        try (X509Source source = DefaultX509Source.newSource(options)) {
            StringBuilder seen = new StringBuilder();
            for (String protocol : new String[] {"TLSv1.2", "TLSv1.3"}) {
                String heard = ask(source, protocol, peer, address);
                need(heard.equals(own.toString()), "the other side saw `" + heard + "`");
                seen.append(protocol).append(" as `").append(heard).append("`; ");
            }
            try {
                String heard = ask(source, "TLSv1.3", wrong, address);
                throw new IllegalStateException("as `" + wrong + "` it answered `" + heard + "`");
            } catch (SSLException refused) {
                need(said(refused).contains("is not accepted"), "the wrong ID ended with another error: " + said(refused));
                return seen + said(refused);
            }
        }
    }

    private static String ask(X509Source source, String protocol, SpiffeId peer, String address) throws Exception {
        SslContextOptions options = SslContextOptions.builder()
                .sslProtocol(protocol)
                .x509Source(source)
                .acceptedSpiffeIdsSupplier(() -> Set.of(peer))
                .build();
        SSLContext context = SpiffeSslContextFactory.getSslContext(options);
        int colon = address.lastIndexOf(':');
        String host = address.substring(0, colon);
        int port = Integer.parseInt(address.substring(colon + 1));
        try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(host, port)) {
            socket.setSoTimeout((int) Fetch.PATIENCE.toMillis());
            socket.setEnabledProtocols(new String[] {protocol});
            socket.startHandshake();
            socket.getOutputStream().write("who am I?\n".getBytes(StandardCharsets.UTF_8));
            socket.getOutputStream().flush();
            String line = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8)).readLine();
            need(line != null, "the other side said nothing");
            return line;
        }
    }
}

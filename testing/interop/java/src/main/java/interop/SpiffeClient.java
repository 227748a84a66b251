package interop;

import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.workloadapi.WorkloadApiClient;
import java.io.File;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A SPIFFE workload with java-spiffe. Each mode speaks to the Workload API in SPIFFE_ENDPOINT_SOCKET, and says in one
 * JSON line {"client", "version", "ok", "seen"} what it saw. It exits with 0 or 1 (2: usage), and imports nothing of
 * Marque.
 *
 * <pre>
 * java -jar spiffe-java.jar fetch ID                  X.509- and JWT-SVIDs and bundles, validated by API and offline
 * java -jar spiffe-java.jar dial ID PEER ADDRESS WRONG
 *                                                     mutual TLS with PEER, which answers a line with the ID it saw;
 *                                                     WRONG in its place is refused
 * </pre>
 */
public final class SpiffeClient {
    private SpiffeClient() {}

    public static void main(String[] arguments) {
        // The library's own log goes to standard error; the one line is all of standard output.
        Conversation talk = chosen(arguments);
        if (talk == null) {
            System.err.println("usage: spiffe-java MODE ARGUMENTS, as the comment at the top of SpiffeClient.java says");
            System.exit(2);
        }
        boolean ok = true;
        String seen;
        try {
            seen = talk.hold();
        } catch (Exception fault) {
            ok = false;
            seen = said(fault);
        }
        System.out.printf(
                "{\"client\":\"spiffe-java\",\"version\":%s,\"ok\":%s,\"seen\":%s}%n", quoted(version()), ok, quoted(seen));
        // Threads of the transport may outlive the conversation.
        System.exit(ok ? 0 : 1);
    }

    /** One conversation: what was seen, or an exception that says why not. */
    private interface Conversation {
        String hold() throws Exception;
    }

    private static Conversation chosen(String[] given) {
        String mode = given.length + (given.length == 0 ? "" : given[0]);
        return switch (mode) {
            case "2fetch" -> () -> Fetch.all(SpiffeId.parse(given[1]));
            case "5dial" -> () ->
                    MutualTls.dial(SpiffeId.parse(given[1]), SpiffeId.parse(given[2]), given[3], SpiffeId.parse(given[4]));
            default -> null;
        };
    }

    /** Throws if something does not hold. */
    static void need(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }

    /** What an exception says, with its causes: the library hides the server's answer in them. */
    static String said(Throwable fault) {
        StringBuilder text = new StringBuilder();
        for (Throwable at = fault; at != null && text.length() < 2_000; at = at.getCause()) {
            text.append(text.isEmpty() ? "" : ": ").append(at.getClass().getSimpleName()).append(": ").append(at.getMessage());
        }
        return text.toString();
    }

    /** The version of the library that runs, as its file is named. */
    private static String version() {
        String path = WorkloadApiClient.class.getProtectionDomain().getCodeSource().getLocation().getPath();
        List<String> parts = Arrays.asList(path.split(File.separator));
        Matcher found = Pattern.compile("java-spiffe-core-(.+)\\.jar").matcher(parts.get(parts.size() - 1));
        return found.matches() ? found.group(1) : "unknown";
    }

    private static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < ' ') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        return json.append('"').toString();
    }
}

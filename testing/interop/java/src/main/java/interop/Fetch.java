package interop;

import static interop.SpiffeClient.need;
import static interop.SpiffeClient.said;

import io.spiffe.bundle.jwtbundle.JwtBundleSet;
import io.spiffe.bundle.x509bundle.X509BundleSet;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.svid.jwtsvid.JwtSvid;
import io.spiffe.svid.x509svid.X509Svid;
import io.spiffe.svid.x509svid.X509SvidValidator;
import io.spiffe.workloadapi.DefaultWorkloadApiClient;
import io.spiffe.workloadapi.DefaultX509Source;
import io.spiffe.workloadapi.WorkloadApiClient;
import io.spiffe.workloadapi.X509Context;
import io.spiffe.workloadapi.X509Source;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Fetches all that the two mandatory profiles give (Workload API 5 and 6). */
final class Fetch {
    static final Duration PATIENCE = Duration.ofSeconds(20);
    private static final String AUDIENCE = "test";
    private static final String OTHER = "somebody-else";

    private Fetch() {}

    static String all(SpiffeId id) throws Exception {
        try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient()) {
            return id + ": " + x509(client, id) + "; " + source(id) + "; " + jwt(client, id);
        }
    }

    private static String x509(WorkloadApiClient client, SpiffeId id) throws Exception {
        X509Context context = client.fetchX509Context();
        X509Svid svid = context.getDefaultSvid();
        need(svid.getSpiffeId().equals(id), "the X.509-SVID is of `" + svid.getSpiffeId() + "`");
        X509BundleSet bundles = context.getX509BundleSet();
        X509SvidValidator.verifyChain(svid.getChain(), bundles);
        X509SvidValidator.verifySpiffeId(svid.getLeaf(), () -> Set.of(id));
        svid.getLeaf().checkValidity();
        X509BundleSet alone = client.fetchX509Bundles();
        need(bundles.getBundles().equals(alone.getBundles()), "the two ways to the bundles give different ones");
        int authorities = bundles.getBundleForTrustDomain(id.getTrustDomain()).getX509Authorities().size();
        return context.getX509Svids().size() + " X.509-SVID with a chain of " + svid.getChain().size() + ", verified with "
                + authorities + " authority";
    }

    /** The same by the source that keeps itself fresh. */
    private static String source(SpiffeId id) throws Exception {
        DefaultX509Source.X509SourceOptions options =
                DefaultX509Source.X509SourceOptions.builder().initTimeout(PATIENCE).build();
        try (X509Source source = DefaultX509Source.newSource(options)) {
            X509Svid svid = source.getX509Svid();
            need(svid.getSpiffeId().equals(id), "the source is of `" + svid.getSpiffeId() + "`");
            X509SvidValidator.verifyChain(svid.getChain(), source);
        }
        return "X509Source";
    }

    private static String jwt(WorkloadApiClient client, SpiffeId id) throws Exception {
        JwtSvid svid = client.fetchJwtSvid(AUDIENCE);
        need(svid.getSpiffeId().equals(id), "the JWT-SVID is of `" + svid.getSpiffeId() + "`");
        need(svid.getAudience().equals(Set.of(AUDIENCE)), "the audience is " + svid.getAudience());
        need(svid.getIssuedAt() != null, "the JWT-SVID has no `iat`");
        JwtSvid named = client.fetchJwtSvid(id, AUDIENCE, OTHER);
        need(named.getAudience().equals(Set.of(AUDIENCE, OTHER)), "the audience of two is " + named.getAudience());
        int all = client.fetchJwtSvids(AUDIENCE).size();
        JwtBundleSet bundles = client.fetchJwtBundles();
        need(client.validateJwtSvid(svid.getToken(), AUDIENCE).getSpiffeId().equals(id), "the validated JWT-SVID is another's");
        JwtSvid offline = JwtSvid.parseAndValidate(svid.getToken(), bundles, Set.of(AUDIENCE));
        need(offline.getSpiffeId().equals(id), "offline it is another's");
        refused(() -> JwtSvid.parseAndValidate(svid.getToken(), bundles, Set.of(OTHER)), "", "another audience, offline,");
        refused(() -> client.validateJwtSvid(svid.getToken(), OTHER), "INVALID_ARGUMENT", "another audience");
        refused(() -> client.validateJwtSvid(changed(svid.getToken()), AUDIENCE), "INVALID_ARGUMENT", "a changed signature");
        SpiffeId stranger = SpiffeId.fromSegments(id.getTrustDomain(), "agent", "not-this-one");
        refused(() -> client.fetchJwtSvid(stranger, AUDIENCE), "PERMISSION_DENIED", "another identity");
        return all + " JWT-SVID, valid by API and offline; 4 refusals as specified";
    }

    /** The error that a call must end with. */
    private static String refused(Call call, String code, String what) {
        try {
            call.make();
        } catch (Exception fault) {
            need(said(fault).contains(code), what + " must be " + code + ", and is: " + said(fault));
            return said(fault);
        }
        throw new IllegalStateException(what + " was not refused");
    }

    /** One call. */
    private interface Call {
        Object make() throws Exception;
    }

    /** The token with the first character of its signature changed; the last one's low bits may not count. */
    private static String changed(String token) {
        int at = token.lastIndexOf('.') + 1;
        return token.substring(0, at) + (token.charAt(at) == 'A' ? 'B' : 'A') + token.substring(at + 1);
    }
}

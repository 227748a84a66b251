package interop;

import static interop.SpiffeClient.need;

import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.svid.x509svid.X509Svid;
import io.spiffe.svid.x509svid.X509SvidValidator;
import io.spiffe.workloadapi.DefaultWorkloadApiClient;
import io.spiffe.workloadapi.Watcher;
import io.spiffe.workloadapi.WorkloadApiClient;
import io.spiffe.workloadapi.X509Context;
import java.math.BigInteger;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Watches a stream, on which a rotation brings a new state without being asked (Workload API 4.3). */
final class Watch {
    private Watch() {}

    static String rotations(SpiffeId id, int wanted, int seconds) throws Exception {
        BlockingQueue<Object> heard = new LinkedBlockingQueue<>();
        Set<BigInteger> serials = new HashSet<>();
        int updates = 0;
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient()) {
            client.watchX509Context(new Watcher<>() {
                @Override
                public void onUpdate(X509Context update) {
                    heard.add(update);
                }

                @Override
                public void onError(Throwable fault) {
                    heard.add(fault);
                }
            });
            while (serials.size() < wanted) {
                Object next = heard.poll(end - System.nanoTime(), TimeUnit.NANOSECONDS);
                need(next != null, serials.size() + " SVIDs in " + updates + " updates within " + seconds + " s");
                if (next instanceof Throwable fault) {
                    throw new IllegalStateException("the stream ended after " + updates + " updates", fault);
                }
                X509Context update = (X509Context) next;
                X509Svid svid = update.getDefaultSvid();
                need(svid.getSpiffeId().equals(id), "an update is of `" + svid.getSpiffeId() + "`");
                X509SvidValidator.verifyChain(svid.getChain(), update.getX509BundleSet());
                serials.add(svid.getLeaf().getSerialNumber());
                if (++updates == 1) {
                    System.out.println("{\"ready\":\"" + id + "\"}");
                }
            }
        }
        return serials.size() + " SVIDs in " + updates + " updates";
    }
}

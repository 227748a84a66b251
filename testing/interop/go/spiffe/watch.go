package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// watcher hands on what the stream brings.
type watcher struct {
	updates chan *workloadapi.X509Context
	errors  chan error
}

func (w watcher) OnX509ContextUpdate(update *workloadapi.X509Context) { w.updates <- update }
func (w watcher) OnX509ContextWatchError(err error)                   { w.errors <- err }

// open watches in the background until the context ends.
func open(ctx context.Context, client *workloadapi.Client) watcher {
	w := watcher{make(chan *workloadapi.X509Context, 64), make(chan error, 64)}
	go func() { _ = client.WatchX509Context(ctx, w) }()
	return w
}

// watch waits for so many different SVIDs: every message is the full state, and a rotation brings a new one without the
// client asking (Workload API 4.3). A stream that ends in between is a failure.
func watch(ctx context.Context, arguments []string) (any, error) {
	id, client, done, err := connect(ctx, arguments[0])
	if err != nil {
		return nil, err
	}
	defer done()
	wanted, err := strconv.Atoi(arguments[1])
	if err != nil {
		return nil, err
	}
	limit, err := seconds(arguments[2])
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w := open(ctx, client)
	serials := map[string]bool{}
	messages, roots := 0, 0
	started := time.Now()
	for len(serials) < wanted {
		select {
		case err := <-w.errors:
			return nil, fmt.Errorf("the stream ended after %d updates: %w", messages, err)
		case <-ctx.Done():
			return nil, fmt.Errorf("%d SVIDs in %d updates within %s: %w", len(serials), messages, limit, ctx.Err())
		case update := <-w.updates:
			if err := whole(update, id); err != nil {
				return nil, err
			}
			if messages++; messages == 1 {
				say(map[string]any{"ready": id.String()})
			}
			serials[update.DefaultSVID().Certificates[0].SerialNumber.String()] = true
			roots = domains(update.Bundles)[id.TrustDomain().Name()]
		}
	}
	return map[string]any{
		"svids": len(serials), "updates": messages, "authorities": roots, "milliseconds": time.Since(started).Milliseconds(),
	}, nil
}

// whole says whether an update is a full state that is valid in itself.
func whole(update *workloadapi.X509Context, id spiffeid.ID) error {
	svid := update.DefaultSVID()
	if err := need(svid.ID == id, "an update is of `%s`", svid.ID); err != nil {
		return err
	}
	_, _, err := x509svid.Verify(svid.Certificates, update.Bundles)
	return err
}

package main

import (
	"context"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// federationSPIFFE takes a bundle from an endpoint that shows an X509-SVID (Federation 5.2.2). The bundle to verify it
// with comes from the Workload API; another SPIFFE ID in its place must be refused.
func federationSPIFFE(ctx context.Context, arguments []string) (any, error) {
	domain, err := spiffeid.TrustDomainFromString(arguments[0])
	if err != nil {
		return nil, err
	}
	endpoint, err := spiffeid.FromString(arguments[2])
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	source, err := workloadapi.NewBundleSource(ctx)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	bundle, err := federation.FetchBundle(ctx, domain, arguments[1], federation.WithSPIFFEAuth(source, endpoint))
	if err != nil {
		return nil, err
	}
	other, err := spiffeid.FromSegments(endpoint.TrustDomain(), "not-this-one")
	if err != nil {
		return nil, err
	}
	_, err = federation.FetchBundle(ctx, domain, arguments[1], federation.WithSPIFFEAuth(source, other))
	if err := need(err != nil, "an endpoint that should be `%s` was taken for it", other); err != nil {
		return nil, err
	}
	known, err := source.GetBundleForTrustDomain(domain)
	if err != nil {
		return nil, err
	}
	if err := sameKeys(bundle, known); err != nil {
		return nil, err
	}
	if err := sameWIT(ctx, bundle); err != nil {
		return nil, err
	}
	return shown(bundle)
}

// sameKeys compares what a relying party gets with what a workload gets.
func sameKeys(published, known *spiffebundle.Bundle) error {
	if err := need(published.X509Bundle().Equal(known.X509Bundle()), "the Workload API has other X.509 authorities"); err != nil {
		return err
	}
	return need(published.JWTBundle().Equal(known.JWTBundle()), "the Workload API has other JWT authorities")
}

// sameWIT compares the keys for WIT-SVIDs, which the source above does not take.
func sameWIT(ctx context.Context, published *spiffebundle.Bundle) error {
	bundles, err := workloadapi.FetchWITBundles(ctx)
	if err != nil {
		return err
	}
	known, err := bundles.GetWITBundleForTrustDomain(published.TrustDomain())
	if err != nil {
		return err
	}
	return need(published.WITBundle().Equal(known), "the Workload API has other WIT authorities")
}

// shown is what a bundle must have to be refreshed (Trust Domain and Bundle 4.1).
func shown(bundle *spiffebundle.Bundle) (any, error) {
	sequence, ok := bundle.SequenceNumber()
	if err := need(ok, "the bundle has no `spiffe_sequence`"); err != nil {
		return nil, err
	}
	hint, ok := bundle.RefreshHint()
	if err := need(ok && hint > 0, "the bundle has no `spiffe_refresh_hint`"); err != nil {
		return nil, err
	}
	if err := need(len(bundle.X509Authorities()) > 0, "the bundle has no X.509 authority"); err != nil {
		return nil, err
	}
	return map[string]any{
		"domain": bundle.TrustDomain().Name(), "x509": len(bundle.X509Authorities()), "jwt": len(bundle.JWTAuthorities()),
		"wit": len(bundle.WITAuthorities()), "sequence": fmt.Sprint(sequence), "refresh_seconds": int(hint.Seconds()),
	}, nil
}

package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	audience = "test"
	other    = "somebody-else"
)

// fetch takes everything that the two mandatory profiles give (Workload API 5 and 6).
func fetch(ctx context.Context, arguments []string) (any, error) {
	id, client, done, err := connect(ctx, arguments[0])
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	x509Seen, err := fetchX509(ctx, client, id)
	if err != nil {
		return nil, fmt.Errorf("X.509: %w", err)
	}
	jwtSeen, err := fetchJWT(ctx, client, id)
	if err != nil {
		return nil, fmt.Errorf("JWT: %w", err)
	}
	return map[string]any{"id": id.String(), "x509": x509Seen, "jwt": jwtSeen}, nil
}

func connect(ctx context.Context, text string) (spiffeid.ID, *workloadapi.Client, func(), error) {
	id, err := spiffeid.FromString(text)
	if err != nil {
		return id, nil, nil, err
	}
	client, err := workloadapi.New(ctx)
	if err != nil {
		return id, nil, nil, err
	}
	return id, client, func() { _ = client.Close() }, nil
}

func fetchX509(ctx context.Context, client *workloadapi.Client, id spiffeid.ID) (any, error) {
	found, err := client.FetchX509Context(ctx)
	if err != nil {
		return nil, err
	}
	svid := found.DefaultSVID()
	if err := need(svid.ID == id, "the default SVID is of `%s`", svid.ID); err != nil {
		return nil, err
	}
	if err := checkLeaf(svid); err != nil {
		return nil, err
	}
	verified, _, err := x509svid.Verify(svid.Certificates, found.Bundles)
	if err != nil {
		return nil, err
	}
	if err := need(verified == id, "the verified chain is of `%s`", verified); err != nil {
		return nil, err
	}
	alone, err := client.FetchX509Bundles(ctx)
	if err != nil {
		return nil, err
	}
	if err := sameBundles(found.Bundles, alone); err != nil {
		return nil, err
	}
	return map[string]any{
		"svids":   len(found.SVIDs),
		"hints":   hints(found.SVIDs),
		"chain":   len(svid.Certificates),
		"minutes": int(svid.Certificates[0].NotAfter.Sub(svid.Certificates[0].NotBefore).Minutes()),
		"domains": domains(found.Bundles),
	}, nil
}

// checkLeaf holds the leaf against X509-SVID 3.1 and 4, where the library itself is lenient.
func checkLeaf(svid *x509svid.SVID) error {
	leaf := svid.Certificates[0]
	if err := need(len(leaf.URIs) == 1, "the leaf has %d URIs", len(leaf.URIs)); err != nil {
		return err
	}
	if err := need(!leaf.IsCA, "the leaf is a CA"); err != nil {
		return err
	}
	if err := need(leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) == 0, "the leaf may sign certificates"); err != nil {
		return err
	}
	uses := leaf.ExtKeyUsage
	both := slices.Contains(uses, x509.ExtKeyUsageServerAuth) && slices.Contains(uses, x509.ExtKeyUsageClientAuth)
	return need(len(uses) == 0 || both, "the extended key usage is %v", uses)
}

func sameBundles(one, other *x509bundle.Set) error {
	if err := need(one.Len() == other.Len(), "one way gives %d bundles, the other %d", one.Len(), other.Len()); err != nil {
		return err
	}
	for _, bundle := range one.Bundles() {
		again, ok := other.Get(bundle.TrustDomain())
		if err := need(ok && bundle.Equal(again), "the two ways to the bundle of `%s` differ", bundle.TrustDomain()); err != nil {
			return err
		}
		if err := need(!bundle.Empty(), "the bundle of `%s` is empty", bundle.TrustDomain()); err != nil {
			return err
		}
	}
	return nil
}

func fetchJWT(ctx context.Context, client *workloadapi.Client, id spiffeid.ID) (any, error) {
	all, err := client.FetchJWTSVIDs(ctx, jwtsvid.Params{Audience: audience, ExtraAudiences: []string{other}})
	if err != nil {
		return nil, err
	}
	svid, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience, Subject: id})
	if err != nil {
		return nil, err
	}
	if err := need(svid.ID == id, "the JWT-SVID is of `%s`", svid.ID); err != nil {
		return nil, err
	}
	if err := need(slices.Equal(svid.Audience, []string{audience}), "the audience is %v", svid.Audience); err != nil {
		return nil, err
	}
	// What OpenID Connect relying parties ask for, beyond JWT-SVID 3.
	for _, claim := range []string{"iss", "iat", "jti"} {
		if err := need(svid.Claims[claim] != nil, "the JWT-SVID has no `%s`", claim); err != nil {
			return nil, err
		}
	}
	valid, err := client.ValidateJWTSVID(ctx, svid.Marshal(), audience)
	if err != nil {
		return nil, err
	}
	if err := need(valid.ID == id, "the validated JWT-SVID is of `%s`", valid.ID); err != nil {
		return nil, err
	}
	bundles, err := client.FetchJWTBundles(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := jwtsvid.ParseAndValidate(svid.Marshal(), bundles, []string{audience}); err != nil {
		return nil, fmt.Errorf("offline: %w", err)
	}
	if _, err := jwtsvid.ParseAndValidate(svid.Marshal(), bundles, []string{other}); err == nil {
		return nil, fmt.Errorf("offline, another audience was not refused")
	}
	refusals, err := jwtRefusals(ctx, client, id, svid.Marshal())
	if err != nil {
		return nil, err
	}
	return map[string]any{"svids": len(all), "claims": slices.Sorted(maps.Keys(svid.Claims)), "refusals": refusals}, nil
}

// jwtRefusals is what must not work, and the code it must be answered with (Workload API 6.2, Endpoint appendix A).
func jwtRefusals(ctx context.Context, client *workloadapi.Client, id spiffeid.ID, token string) (any, error) {
	validate := func(token, audience string) error {
		_, err := client.ValidateJWTSVID(ctx, token, audience)
		return err
	}
	ask := func(params jwtsvid.Params) error {
		_, err := client.FetchJWTSVID(ctx, params)
		return err
	}
	stranger, err := spiffeid.FromSegments(id.TrustDomain(), "agent", "not-this-one")
	if err != nil {
		return nil, err
	}
	cases := []struct {
		what string
		code codes.Code
		err  error
	}{
		{"another audience", codes.InvalidArgument, validate(token, other)},
		{"no audience", codes.InvalidArgument, validate(token, "")},
		{"a changed signature", codes.InvalidArgument, validate(changed(token), audience)},
		{"garbage", codes.InvalidArgument, validate("garbage", audience)},
		{"an empty audience", codes.InvalidArgument, ask(jwtsvid.Params{})},
		{"another identity", codes.PermissionDenied, ask(jwtsvid.Params{Audience: audience, Subject: stranger})},
	}
	for _, one := range cases {
		if err := need(status.Code(one.err) == one.code, "%s must be %s, and is: %v", one.what, one.code, one.err); err != nil {
			return nil, err
		}
	}
	return len(cases), nil
}

// changed is the token with the first character of its signature changed; the last one's low bits may not count.
func changed(token string) string {
	at := strings.LastIndexByte(token, '.') + 1
	first := byte('A')
	if token[at] == first {
		first = 'B'
	}
	return token[:at] + string(first) + token[at+1:]
}

// denied is what a process that no identity fits must be told (Endpoint appendix A).
func denied(ctx context.Context, _ []string) (any, error) {
	client, err := workloadapi.New(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	calls := map[string]func() error{
		"FetchX509SVID":    func() error { _, err := client.FetchX509SVID(ctx); return err },
		"FetchX509Bundles": func() error { _, err := client.FetchX509Bundles(ctx); return err },
		"FetchJWTBundles":  func() error { _, err := client.FetchJWTBundles(ctx); return err },
		"FetchJWTSVID":     func() error { _, err := client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience}); return err },
		"ValidateJWTSVID":  func() error { _, err := client.ValidateJWTSVID(ctx, "garbage", audience); return err },
	}
	var why string
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		err := calls[name]()
		if err := need(status.Code(err) == codes.PermissionDenied, "%s must be PermissionDenied, and is: %v", name, err); err != nil {
			return nil, err
		}
		why = status.Convert(err).Message()
	}
	return map[string]any{"calls": len(calls), "why": why}, nil
}

func hints(svids []*x509svid.SVID) []string {
	all := make([]string, 0, len(svids))
	for _, svid := range svids {
		all = append(all, svid.Hint)
	}
	return all
}

// domains is how many authorities there are for each trust domain.
func domains(bundles *x509bundle.Set) map[string]int {
	all := map[string]int{}
	for _, bundle := range bundles.Bundles() {
		all[bundle.TrustDomain().Name()] = len(bundle.X509Authorities())
	}
	return all
}

package main

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/exp/bundle/witbundle"
	"github.com/spiffe/go-spiffe/v2/exp/svid/witsvid"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// wit takes a WIT-SVID with its key, and checks it with the bundles (Workload API 7, incubating).
func wit(ctx context.Context, arguments []string) (any, error) {
	id, client, done, err := connect(ctx, arguments[0])
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	svid, err := client.FetchWITSVID(ctx, "")
	if err != nil {
		return nil, err
	}
	bundles, err := client.FetchWITBundles(ctx)
	if err != nil {
		return nil, err
	}
	if err := validWIT(svid, bundles, id); err != nil {
		return nil, err
	}
	if err := ownKey(svid); err != nil {
		return nil, err
	}
	authorities, err := apart(ctx, client, bundles, id.TrustDomain())
	if err != nil {
		return nil, err
	}
	stranger, err := spiffeid.FromSegments(id.TrustDomain(), "agent", "not-this-one")
	if err != nil {
		return nil, err
	}
	_, err = client.FetchWITSVID(ctx, stranger.String())
	if err := need(status.Code(err) == codes.PermissionDenied, "another identity must be PermissionDenied, and is: %v", err); err != nil {
		return nil, err
	}
	claims, err := claimsOf(svid.Marshal())
	if err != nil {
		return nil, err
	}
	// With an issuer it could pass for an OpenID Connect token (WIT-SVID 3.7).
	if err := need(claims["iss"] == nil && claims["jti"] != nil, "the claims are %v", claims); err != nil {
		return nil, err
	}
	return map[string]any{"id": id.String(), "claims": slices.Sorted(maps.Keys(claims)), "authorities": authorities}, nil
}

// validWIT is whether the library takes the WIT-SVID with the bundles, and nothing less.
func validWIT(svid *witsvid.SVID, bundles *witbundle.Set, id spiffeid.ID) error {
	valid, err := witsvid.ParseAndValidate(svid.Marshal(), bundles)
	if err != nil {
		return err
	}
	if err := need(valid.ID == id, "the WIT-SVID is of `%s`", valid.ID); err != nil {
		return err
	}
	if _, err := witsvid.ParseAndValidate(changed(svid.Marshal()), bundles); err == nil {
		return errors.New("a changed signature was not refused")
	}
	if _, err := witsvid.ParseAndValidate(svid.Marshal(), witbundle.New(id.TrustDomain())); err == nil {
		return errors.New("a bundle without the key was enough")
	}
	return nil
}

// ownKey says whether the private key that came along is the one in `cnf`: without it the WIT-SVID proves nothing.
func ownKey(svid *witsvid.SVID) error {
	signer, ok := svid.PrivateKey.(crypto.Signer)
	if !ok {
		return errors.New("the private key cannot sign")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return need(ok && public.Equal(svid.PublicKey), "the private key is not the one in `cnf`")
}

// apart counts the keys, each of which has a name that no key for JWT-SVIDs has (WIT-SVID 6.1).
func apart(ctx context.Context, client *workloadapi.Client, bundles *witbundle.Set, domain spiffeid.TrustDomain) (int, error) {
	own, err := bundles.GetWITBundleForTrustDomain(domain)
	if err != nil {
		return 0, err
	}
	known, err := client.FetchJWTBundles(ctx)
	if err != nil {
		return 0, err
	}
	others, err := known.GetJWTBundleForTrustDomain(domain)
	if err != nil {
		return 0, err
	}
	for name := range own.WITAuthorities() {
		if err := need(!others.HasJWTAuthority(name), "`%s` is a key for JWT-SVIDs, too", name); err != nil {
			return 0, err
		}
	}
	return len(own.WITAuthorities()), nil
}

func claimsOf(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if err := need(len(parts) == 3, "the token has %d parts", len(parts)); err != nil {
		return nil, err
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	return claims, json.Unmarshal(text, &claims)
}

// deniedWIT is what a process that no identity fits must be told (Endpoint appendix A).
func deniedWIT(ctx context.Context, _ []string) (any, error) {
	return answered(ctx, codes.PermissionDenied)
}

// noWIT is how a server without the profile must answer: Unimplemented to all of its calls.
func noWIT(ctx context.Context, _ []string) (any, error) {
	return answered(ctx, codes.Unimplemented)
}

// answered is whether all calls of the profile are refused in one way.
func answered(ctx context.Context, code codes.Code) (any, error) {
	client, err := workloadapi.New(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, svid := client.FetchWITSVID(ctx, "")
	_, bundles := client.FetchWITBundles(ctx)
	for _, err := range []error{svid, bundles} {
		if status.Code(err) != code {
			return nil, fmt.Errorf("a call must be %s, and is: %v", code, err)
		}
	}
	return code.String(), nil
}

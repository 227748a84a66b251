package main

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/exp/svid/witsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// wit takes a WIT-SVID with its key, and checks it with the bundle (Workload API 7, incubating).
func wit(ctx context.Context, arguments []string) (any, error) {
	id, client, done, err := connect(ctx, arguments[0])
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	svid, err := client.FetchWITSVID(ctx, id.String())
	if err != nil {
		return nil, err
	}
	bundles, err := client.FetchWITBundles(ctx)
	if err != nil {
		return nil, err
	}
	valid, err := witsvid.ParseAndValidate(svid.Marshal(), bundles)
	if err != nil {
		return nil, err
	}
	if err := need(valid.ID == id, "the WIT-SVID is of `%s`", valid.ID); err != nil {
		return nil, err
	}
	if err := ownKey(svid); err != nil {
		return nil, err
	}
	claims, err := claimsOf(svid.Marshal())
	if err != nil {
		return nil, err
	}
	_, named := claims["aud"]
	if err := need(!named, "the WIT-SVID names an audience (WIT-SVID 3)"); err != nil {
		return nil, err
	}
	return map[string]any{"id": id.String(), "claims": slices.Sorted(maps.Keys(claims))}, nil
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

// noWIT is how a server without the profile must answer: Unimplemented to all of its calls.
func noWIT(ctx context.Context, _ []string) (any, error) {
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
		if err := need(status.Code(err) == codes.Unimplemented, "a call is answered: %v", err); err != nil {
			return nil, err
		}
	}
	return status.Code(svid).String(), nil
}

package main

import (
	"context"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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

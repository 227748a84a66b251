package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// party is one side of a connection: its SVID, kept fresh, and whom it expects.
type party struct {
	source *workloadapi.X509Source
	peer   spiffeid.ID
}

func newParty(ctx context.Context, own, peer string) (*party, error) {
	id, err := spiffeid.FromString(own)
	if err != nil {
		return nil, err
	}
	expected, err := spiffeid.FromString(peer)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	source, err := workloadapi.NewX509Source(limited)
	if err != nil {
		return nil, err
	}
	svid, err := source.GetX509SVID()
	if err == nil {
		err = need(svid.ID == id, "this side is `%s`", svid.ID)
	}
	if err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return &party{source, expected}, nil
}

// serve answers each connection with the SPIFFE ID that the peer has shown. COUNT 0 is without end.
func serve(ctx context.Context, arguments []string) (any, error) {
	own, err := newParty(ctx, arguments[0], arguments[1])
	if err != nil {
		return nil, err
	}
	defer own.source.Close()
	count, err := strconv.Atoi(arguments[2])
	if err != nil {
		return nil, err
	}
	mode := spiffetls.MTLSServerWithSource(tlsconfig.AuthorizeID(own.peer), own.source)
	listener, err := spiffetls.ListenWithMode(ctx, "tcp", "127.0.0.1:0", mode)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	say(map[string]any{"ready": listener.Addr().String()})
	answered, failures := 0, []string{}
	for at := 0; count == 0 || at < count; at++ {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := answer(connection); err != nil {
			failures = append(failures, err.Error())
		} else {
			answered++
		}
	}
	return map[string]any{"peer": own.peer.String(), "answered": answered, "refused": failures}, nil
}

func answer(connection net.Conn) error {
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	// The first use makes the handshake.
	if _, err := bufio.NewReader(connection).ReadString('\n'); err != nil {
		return err
	}
	peer, err := spiffetls.PeerIDFromConn(connection)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(connection, peer)
	return err
}

// ask says a line and hears who the other side thinks this is.
func ask(ctx context.Context, address string, mode spiffetls.DialMode) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	connection, err := spiffetls.DialWithMode(ctx, "tcp", address, mode)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(connection, "who am I?"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(connection).ReadString('\n')
	return strings.TrimSpace(line), err
}

// dial makes one good connection and two that must not be made.
func dial(ctx context.Context, arguments []string) (any, error) {
	own, err := newParty(ctx, arguments[0], arguments[1])
	if err != nil {
		return nil, err
	}
	defer own.source.Close()
	wrong, err := spiffeid.FromString(arguments[3])
	if err != nil {
		return nil, err
	}
	address := arguments[2]
	heard, err := ask(ctx, address, spiffetls.MTLSClientWithSource(tlsconfig.AuthorizeID(own.peer), own.source))
	if err != nil {
		return nil, err
	}
	if err := need(heard == arguments[0], "the other side saw `%s`", heard); err != nil {
		return nil, err
	}
	_, err = ask(ctx, address, spiffetls.MTLSClientWithSource(tlsconfig.AuthorizeID(wrong), own.source))
	if err := need(says(err, "unexpected ID"), "as `%s` it answered: %v", wrong, err); err != nil {
		return nil, err
	}
	unexpected := err.Error()
	_, err = ask(ctx, address, spiffetls.TLSClientWithSource(tlsconfig.AuthorizeID(own.peer), own.source))
	if err := need(says(err, "certificate required"), "without a certificate: %v", err); err != nil {
		return nil, err
	}
	return map[string]any{"seen_as": heard, "wrong_id": unexpected, "no_certificate": err.Error()}, nil
}

func says(err error, what string) bool {
	return err != nil && strings.Contains(err.Error(), what)
}

// load makes connection after connection, while SVIDs and authorities may rotate under it.
func load(ctx context.Context, arguments []string) (any, error) {
	own, err := newParty(ctx, arguments[0], arguments[1])
	if err != nil {
		return nil, err
	}
	defer own.source.Close()
	limit, err := seconds(arguments[3])
	if err != nil {
		return nil, err
	}
	mode := spiffetls.MTLSClientWithSource(tlsconfig.AuthorizeID(own.peer), own.source)
	serials, handshakes := map[string]bool{}, 0
	for end := time.Now().Add(limit); time.Now().Before(end) && ctx.Err() == nil; handshakes++ {
		if _, err := ask(ctx, arguments[2], mode); err != nil {
			return nil, fmt.Errorf("handshake %d, with SVID %d of its own: %w", handshakes+1, len(serials), err)
		}
		svid, err := own.source.GetX509SVID()
		if err != nil {
			return nil, err
		}
		serials[svid.Certificates[0].SerialNumber.String()] = true
	}
	return map[string]any{"handshakes": handshakes, "svids": len(serials)}, nil
}

package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// authority is a CA of the trust domain that is published, or of the Web.
type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// publish serves another trust domain's bundle in both profiles, each on a port of its own, and leaves in DIR what a
// relying party is configured with: `bundle.json` for https_spiffe, `web-root.pem` for https_web. Every SIGHUP adds an
// authority to the bundle and raises its sequence number, as a rotation does.
func publish(ctx context.Context, arguments []string) (any, error) {
	domain, err := spiffeid.TrustDomainFromString(arguments[0])
	if err != nil {
		return nil, err
	}
	endpoint, err := spiffeid.FromSegments(domain, "bundle-endpoint")
	if err != nil {
		return nil, err
	}
	spiffeCA, err := newAuthority(&url.URL{Scheme: "spiffe", Host: domain.Name()})
	if err != nil {
		return nil, err
	}
	webCA, err := newAuthority(nil)
	if err != nil {
		return nil, err
	}
	bundle, err := newBundle(domain, spiffeCA)
	if err != nil {
		return nil, err
	}
	text, err := bundle.Marshal()
	if err != nil {
		return nil, err
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: webCA.certificate.Raw})
	err = errors.Join(
		os.WriteFile(filepath.Join(arguments[1], "bundle.json"), text, 0o600),
		os.WriteFile(filepath.Join(arguments[1], "web-root.pem"), root, 0o600))
	if err != nil {
		return nil, err
	}
	handler, err := federation.NewHandler(domain, bundle)
	if err != nil {
		return nil, err
	}
	spiffe, err := listen(ctx, handler, spiffeCA, &x509.Certificate{URIs: []*url.URL{endpoint.URL()}})
	if err != nil {
		return nil, err
	}
	loopback := &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}
	web, err := listen(ctx, handler, webCA, loopback)
	if err != nil {
		return nil, err
	}
	hangups := make(chan os.Signal, 8)
	signal.Notify(hangups, syscall.SIGHUP)
	say(map[string]any{"ready": map[string]string{"https_spiffe": spiffe, "https_web": web, "endpoint": endpoint.String()}})
	for {
		select {
		case <-ctx.Done():
			return shown(bundle)
		case <-hangups:
			if err := rotate(bundle); err != nil {
				return nil, err
			}
			sequence, _ := bundle.SequenceNumber()
			say(map[string]any{"sequence": sequence})
		}
	}
}

func newBundle(domain spiffeid.TrustDomain, ca *authority) (*spiffebundle.Bundle, error) {
	bundle := spiffebundle.New(domain)
	bundle.AddX509Authority(ca.certificate)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	bundle.SetSequenceNumber(1)
	bundle.SetRefreshHint(time.Second)
	return bundle, bundle.AddJWTAuthority("one", key.Public())
}

func rotate(bundle *spiffebundle.Bundle) error {
	next, err := newAuthority(&url.URL{Scheme: "spiffe", Host: bundle.TrustDomain().Name()})
	if err != nil {
		return err
	}
	sequence, _ := bundle.SequenceNumber()
	bundle.AddX509Authority(next.certificate)
	bundle.SetSequenceNumber(sequence + 1)
	return nil
}

// listen serves the bundle with a certificate that the CA issues for these names.
func listen(ctx context.Context, handler http.Handler, ca *authority, names *x509.Certificate) (string, error) {
	certificate, err := ca.issue(names)
	if err != nil {
		return "", err
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience, ErrorLog: log.New(os.Stderr, "", 0)}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}}
	go func() { _ = server.Serve(tls.NewListener(inner, config)) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return fmt.Sprintf("https://%s/", inner.Addr()), nil
}

func newAuthority(id *url.URL) (*authority, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Interop CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if id != nil {
		template.URIs = []*url.URL{id}
	}
	der, key, err := sign(template, nil)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

func (ca *authority) issue(template *x509.Certificate) (*tls.Certificate, error) {
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.BasicConstraintsValid = true
	der, key, err := sign(template, ca)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// sign makes a certificate with a key of its own, self-signed without a CA.
func sign(template *x509.Certificate, ca *authority) ([]byte, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Minute)
	template.NotAfter = time.Now().Add(time.Hour)
	parent, signer := template, crypto.Signer(key)
	if ca != nil {
		parent, signer = ca.certificate, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	return der, key, err
}

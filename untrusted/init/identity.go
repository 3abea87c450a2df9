package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
)

// identity is who this sandbox is where its link is a network connection. Keys are made here and stay here.
type identity struct {
	Gateway, Peer, Bundle, Token string // the join file: where, who has to be there, by whose word; once
	key                          *ecdsa.PrivateKey
	conn                         *tls.Conn
}

// dialGateway uses up the token of a join file, before there is an agent [R6], and dials as who it was for.
func dialGateway(path string) (*identity, error) {
	me := &identity{}
	text, err := os.ReadFile(path)
	_ = os.Remove(path) // where that cannot be, what stays is good for nothing any more
	if err == nil {
		err = json.Unmarshal(text, me)
	}
	if err == nil {
		err = me.dial("glovebox-join", tls.Certificate{})
	}
	if err != nil {
		return me, err
	}
	var answer command
	if err = json.NewEncoder(me.conn).Encode(me.next(nil)); err == nil {
		err = json.NewDecoder(io.LimitReader(me.conn, maxCommandLine)).Decode(&answer)
	}
	me.conn.Close()
	if err == nil {
		err = me.dial("h2", tls.Certificate{Certificate: answer.Chain, PrivateKey: me.key})
	}
	return me, err
}

func (me *identity) dial(protocol string, certificate tls.Certificate) (err error) {
	me.conn, err = tls.Dial("tcp", me.Gateway, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, Certificates: []tls.Certificate{certificate},
		InsecureSkipVerify: true, // of the address alone:
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf := state.PeerCertificates[0]
			options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
			options.Roots.AppendCertsFromPEM([]byte(me.Bundle))
			for _, above := range state.PeerCertificates[1:] {
				options.Intermediates.AddCert(above)
			}
			if _, err := leaf.Verify(options); err != nil || len(leaf.URIs) != 1 || leaf.URIs[0].String() != me.Peer {
				return errors.Join(errors.New("the gateway is not "+me.Peer), err)
			}
			return nil
		},
	})
	return err
}

// next makes a key and a request that names nobody or, given what that led to, shows that whoever holds this very
// connection holds the key of it: a signature over what its two ends know and nobody else (RFC 9266).
func (me *identity) next(chain [][]byte) event {
	if len(chain) == 0 {
		me.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // neither of these two can fail
		csr, _ := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, me.key)
		return event{"type": "renewal", "csr": csr, "token": me.Token}
	}
	state := me.conn.ConnectionState()
	binding, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return failure("", err)
	}
	leaf := sha256.Sum256(chain[0])
	sum := sha256.Sum256(slices.Concat([]byte("glovebox renewed certificate\x00"), binding, leaf[:]))
	proof, _ := ecdsa.SignASN1(rand.Reader, me.key, sum[:])
	return event{"type": "proof", "signature": proof}
}

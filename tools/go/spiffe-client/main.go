// Command spiffe-client is an independent SPIFFE client (go-spiffe) for the tests: it gets its identity from a
// Workload API socket and uses it, and says how it reads SPIFFE IDs.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "ids":
		err = ids()
	case len(os.Args) == 5 && os.Args[1] == "call":
		err = call(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = fmt.Errorf("usage: spiffe-client ids | spiffe-client call SOCKET URL SERVER-ID")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ids reads a JSON list of texts and answers, for each, whether it is a SPIFFE ID.
func ids() error {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		return err
	}
	good := make([]bool, len(texts))
	for index, text := range texts {
		_, err := spiffeid.FromString(text)
		good[index] = err == nil
	}
	return json.NewEncoder(os.Stdout).Encode(good)
}

// call makes one request for each line that it reads, each on a connection of its own, with the newest identity.
func call(socket, url, server string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	expected, err := spiffeid.FromString(server)
	if err != nil {
		return err
	}
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(socket)))
	if err != nil {
		return err
	}
	defer source.Close()
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(expected))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		svid, err := source.GetX509SVID()
		if err != nil {
			return err
		}
		answer := map[string]any{"id": svid.ID.String(), "serial": svid.Certificates[0].SerialNumber.Text(16)}
		response, err := client.Get(url)
		if err != nil {
			answer["error"] = err.Error()
		} else {
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			answer["status"], answer["body"] = response.StatusCode, string(body)
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

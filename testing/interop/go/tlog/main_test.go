package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const origin = "example.org/a/log"

// made is a log of so many entries, by path.
type made struct {
	files map[string][]byte
	vkey  string
	sign  func(text string) []byte
}

func build(t *testing.T, size int64) made {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	log := made{files: map[string][]byte{}, vkey: vkey, sign: func(text string) []byte {
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}}
	var stored []tlog.Hash
	reader := at(&stored)
	for n := range size {
		entry := fmt.Appendf(nil, "entry %d", n)
		hashes, err := tlog.StoredHashes(n, entry, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		width := int(min(256, size-n/256*256))
		at := path(tlog.Tile{H: height, L: -1, N: n / 256, W: width})
		log.files[at] = append(binary.BigEndian.AppendUint16(log.files[at], uint16(len(entry))), entry...)
	}
	for _, tile := range tlog.NewTiles(height, 0, size) {
		if log.files[path(tile)], err = tlog.ReadTileData(tile, reader); err != nil {
			t.Fatal(err)
		}
	}
	log.files["checkpoint"] = log.sign(log.text(t, size, reader))
	return log
}

func (log made) text(t *testing.T, size int64, reader tlog.HashReader) string {
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s\n%d\n%s\n", origin, size, root)
}

// judge serves the log and judges it.
func (log made) judge(t *testing.T, older string) (string, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := log.files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(data)
	}))
	defer server.Close()
	return judge(&source{base: server.URL}, log.vkey, older)
}

func TestWholeLogs(t *testing.T) {
	for _, size := range []int64{0, 1, 2, 255, 256, 257, 600} {
		if seen, err := build(t, size).judge(t, ""); err != nil {
			t.Errorf("a log of %d entries: %s %v", size, seen, err)
		}
	}
}

func TestEveryFileCounts(t *testing.T) {
	log := build(t, 600)
	for name, whole := range log.files {
		for _, at := range []int{0, len(whole) / 2, len(whole) - 1} {
			log.files[name] = slices.Clone(whole)
			log.files[name][at] ^= 1
			if seen, err := log.judge(t, ""); !errors.As(err, &fault{}) {
				t.Errorf("byte %d of %s may change: %s %v", at, name, seen, err)
			}
		}
		log.files[name] = whole[:len(whole)-1]
		if seen, err := log.judge(t, ""); !errors.As(err, &fault{}) {
			t.Errorf("%s may be cut: %s %v", name, seen, err)
		}
		delete(log.files, name)
		if seen, err := log.judge(t, ""); !errors.As(err, &fault{}) {
			t.Errorf("%s may be missing: %s %v", name, seen, err)
		}
		log.files[name] = whole
	}
}

func TestOlderCheckpoints(t *testing.T) {
	log := build(t, 600)
	for _, size := range []int64{0, 1, 256, 599, 600} {
		var hashes []tlog.Hash
		for n := range size {
			more, err := tlog.StoredHashes(n, fmt.Appendf(nil, "entry %d", n), at(&hashes))
			if err != nil {
				t.Fatal(err)
			}
			hashes = append(hashes, more...)
		}
		text := log.text(t, size, at(&hashes))
		if seen, err := log.judge(t, write(t, log.sign(text))); err != nil {
			t.Errorf("the tree of %d: %s %v", size, seen, err)
		}
		if size == 0 {
			continue
		}
		other := fmt.Sprintf("%s\n%d\n%s\n", origin, size, tlog.RecordHash([]byte("another tree")))
		if seen, err := log.judge(t, write(t, log.sign(other))); !errors.As(err, &fault{}) {
			t.Errorf("another tree of %d: %s %v", size, seen, err)
		}
	}
	larger := fmt.Sprintf("%s\n601\n%s\n", origin, tlog.RecordHash(nil))
	if seen, err := log.judge(t, write(t, log.sign(larger))); !errors.As(err, &fault{}) {
		t.Errorf("a tree that shrank: %s %v", seen, err)
	}
}

func at(hashes *[]tlog.Hash) tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, (*hashes)[index])
		}
		return found, nil
	}
}

func write(t *testing.T, data []byte) string {
	file := filepath.Join(t.TempDir(), "older")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestOnlyAFaultIsAFault(t *testing.T) {
	log := build(t, 3)
	_, err := judge(&source{base: "http://127.0.0.1:1"}, log.vkey, "")
	if ok, seen := verdict("", err, true); ok {
		t.Errorf("a log that is not there is found to be broken: %s", seen)
	}
	if ok, _ := verdict("", faultf("a fault"), true); !ok {
		t.Error("a fault is not one")
	}
	if ok, _ := verdict("all", nil, true); ok {
		t.Error("a whole log is found to be broken")
	}
}

func TestPathsAreThoseOfTheSpecification(t *testing.T) {
	for want, tile := range map[string]tlog.Tile{
		"tile/0/000.p/44":       {H: height, L: 0, N: 0, W: 44},
		"tile/1/x001/x234/067":  {H: height, L: 1, N: 1_234_067, W: width},
		"tile/entries/x001/000": {H: height, L: -1, N: 1000, W: width},
		"tile/entries/999.p/1":  {H: height, L: -1, N: 999, W: 1},
	} {
		if got := path(tile); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

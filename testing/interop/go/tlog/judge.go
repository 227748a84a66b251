package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// judge verifies the whole log, and says what it saw.
func judge(source *source, vkey, older string) (string, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return "", err
	}
	signed, err := source.checkpoint()
	if err != nil {
		return "", err
	}
	tree, err := open(signed, verifier)
	if err != nil {
		return "", err
	}
	hashes := &remembered{reader: tlog.TileHashReader(tree, source)}
	if err := inclusion(source, tree, hashes); err != nil {
		return "", asFault(err)
	}
	source.tree = tree
	seen := fmt.Sprintf("%d entries proved in the tree %s", tree.N, tree.Hash)
	if older != "" {
		before, err := consistency(older, verifier, tree, hashes)
		if err != nil {
			return "", asFault(err)
		}
		seen += fmt.Sprintf(", of which the tree of %d entries is the beginning", before)
	}
	return fmt.Sprintf("%s, from %d tiles", seen, source.tiles), nil
}

// open verifies a checkpoint (C2SP tlog-checkpoint): the log must have signed it, under its own name.
func open(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, faultf("the checkpoint: %v", err)
	}
	text, ok := strings.CutPrefix(opened.Text, verifier.Name()+"\n")
	if !ok {
		return tlog.Tree{}, faultf("the checkpoint is of another log than `%s`", verifier.Name())
	}
	// After its first line, a checkpoint is what the checksum database signs.
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + text))
	if err != nil {
		return tlog.Tree{}, faultf("the checkpoint: %v", err)
	}
	return tree, nil
}

// inclusion proves every entry to be at its place in the tree.
func inclusion(source *source, tree tlog.Tree, hashes *remembered) error {
	for start := int64(0); start < tree.N; start += width {
		count := int(min(width, tree.N-start))
		entries, err := source.entries(start/width, count)
		if err != nil {
			return err
		}
		if err := hashes.ahead(start, int64(count)); err != nil {
			return err
		}
		for i, entry := range entries {
			if err := included(tree, start+int64(i), entry, hashes); err != nil {
				return err
			}
		}
	}
	return nil
}

func included(tree tlog.Tree, index int64, entry []byte, hashes tlog.HashReader) error {
	proof, err := tlog.ProveRecord(tree.N, index, hashes)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return faultf("entry %d is not in the tree: %v", index, err)
	}
	forged := append([]byte("not "), entry...)
	if tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(forged)) == nil {
		return fmt.Errorf("another entry passes for entry %d", index)
	}
	return nil
}

// consistency proves the older tree to be the beginning of this one, and gives its size.
func consistency(file string, verifier note.Verifier, tree tlog.Tree, hashes tlog.HashReader) (int64, error) {
	signed, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	before, err := open(signed, verifier)
	switch {
	case err != nil:
		return 0, err
	case before.N > tree.N:
		return 0, faultf("the tree has %d entries, the older one had %d", tree.N, before.N)
	case before.N == 0:
		return 0, nil
	}
	proof, err := tlog.ProveTree(tree.N, before.N, hashes)
	if err != nil {
		return 0, err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, before.N, before.Hash); err != nil {
		return 0, faultf("the older tree of %d entries is not the beginning of this one: %v", before.N, err)
	}
	return before.N, nil
}

// asFault takes what the library says of tiles that do not fit for a fault; it has no type for them. What came from the
// network or the file system stays what it is.
func asFault(err error) error {
	for _, said := range []string{"downloaded inconsistent tile", "TileReader returned bad result slice"} {
		if strings.Contains(err.Error(), said) && !errors.As(err, &fault{}) {
			return faultf("%v", err)
		}
	}
	return err
}

// remembered spares the reader below to authenticate a hash more than once.
type remembered struct {
	reader tlog.HashReader
	hashes map[int64]tlog.Hash
}

// ahead reads all hashes over the entries of one tile at once.
func (r *remembered) ahead(start, count int64) error {
	if r.hashes == nil || len(r.hashes) > 1<<20 {
		r.hashes = make(map[int64]tlog.Hash)
	}
	var indexes []int64
	for level := 0; level < height; level++ {
		for n := start >> level; (n+1)<<level <= start+count; n++ {
			indexes = append(indexes, tlog.StoredHashIndex(level, n))
		}
	}
	_, err := r.ReadHashes(indexes)
	return err
}

// ReadHashes is that of [tlog.HashReader].
func (r *remembered) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var missing []int64
	for _, index := range indexes {
		if _, ok := r.hashes[index]; !ok {
			missing = append(missing, index)
		}
	}
	if len(missing) > 0 {
		read, err := r.reader.ReadHashes(missing)
		if err != nil {
			return nil, err
		}
		for i, index := range missing {
			r.hashes[index] = read[i]
		}
	}
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = r.hashes[index]
	}
	return hashes, nil
}

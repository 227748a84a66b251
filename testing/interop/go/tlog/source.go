package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// height and width of a tile in C2SP tlog-tiles.
	height = 8
	width  = 1 << height
	// limit is more than the largest entry bundle.
	limit = width * (2 + 65_535)
)

var client = http.Client{Timeout: 30 * time.Second}

// source reads a log's files over HTTP. It is a [tlog.TileReader].
type source struct {
	base  string
	types bool
	// tree is that of the checkpoint, once every entry was proved to be in it.
	tree tlog.Tree
	// known has the tiles that were found to be of the tree.
	known map[tlog.Tile][]byte
	tiles int
}

// get reads a file; ok says whether it is there.
func (s *source) get(path, kind string) (data []byte, ok bool, err error) {
	response, err := client.Get(s.base + "/" + path)
	if err != nil {
		return nil, false, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, false, nil
	default:
		return nil, false, fmt.Errorf("%s: %s", path, response.Status)
	}
	if got := response.Header.Get("Content-Type"); s.types && got != kind {
		return nil, false, faultf("%s is served as `%s`, not as `%s`", path, got, kind)
	}
	data, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && len(data) > limit {
		err = faultf("%s is larger than any file of a log", path)
	}
	return data, true, err
}

func (s *source) checkpoint() ([]byte, error) {
	data, ok, err := s.get("checkpoint", "text/plain; charset=utf-8")
	if err == nil && !ok {
		err = faultf("there is no checkpoint")
	}
	return data, err
}

// file reads a tile or bundle. Where a partial one was removed, the full one stands for it; held says how wide it is.
func (s *source) file(tile tlog.Tile) (data []byte, held int, err error) {
	full := tile
	full.W = width
	for _, tile := range []tlog.Tile{tile, full} {
		data, ok, err := s.get(path(tile), "application/octet-stream")
		if ok || err != nil {
			return data, tile.W, err
		}
	}
	return nil, 0, faultf("%s is missing", path(tile))
}

// entries reads the first entries of a bundle, as many as a tile of that width has hashes.
func (s *source) entries(index int64, count int) ([][]byte, error) {
	bundle := tlog.Tile{H: height, L: -1, N: index, W: count}
	data, held, err := s.file(bundle)
	if err != nil {
		return nil, err
	}
	entries, ok := split(data)
	if !ok || len(entries) != held {
		return nil, faultf("%s does not have %d whole entries", path(bundle), held)
	}
	return entries[:count], nil
}

// Height is part of [tlog.TileReader].
func (s *source) Height() int { return height }

// ReadTiles is part of [tlog.TileReader].
func (s *source) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	list := make([][]byte, len(tiles))
	for i, tile := range tiles {
		data, known := s.known[tile]
		if !known {
			var held int
			var err error
			if data, held, err = s.file(tile); err != nil {
				return nil, err
			}
			if len(data) != held*tlog.HashSize {
				return nil, faultf("%s has %d bytes", path(tile), len(data))
			}
			data = data[:tile.W*tlog.HashSize]
		}
		list[i] = data
	}
	return list, nil
}

// SaveTiles is part of [tlog.TileReader]: these tiles are of the tree, and need not be read again.
func (s *source) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	if s.known == nil || len(s.known) > 1<<12 {
		s.known = make(map[tlog.Tile][]byte)
	}
	for i, tile := range tiles {
		if _, known := s.known[tile]; !known {
			s.known[tile] = data[i]
			s.tiles++
		}
	}
}

// path is that of C2SP tlog-tiles. The checksum database has the height in it too, and another word for bundles.
func path(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

// split gives the entries of a bundle, each behind its length in two bytes.
func split(data []byte) (entries [][]byte, ok bool) {
	for len(data) > 0 {
		if len(data) < 2 {
			return nil, false
		}
		length := int(binary.BigEndian.Uint16(data))
		if data = data[2:]; len(data) < length {
			return nil, false
		}
		entries, data = append(entries, data[:length]), data[length:]
	}
	return entries, true
}

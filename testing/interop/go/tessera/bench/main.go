// Command bench measures Tessera's POSIX driver: so many goroutines append entries, each waiting for its acknowledgement
// before the next, and one JSON line says how many were acknowledged a second, and after how long.
//
//	bench --dir DIR [--seconds N] [--entries N] [--goroutines N] [--size BYTES]
//	      [--batch-size N] [--batch-age DURATION] [--checkpoint-interval DURATION] [--ack integrated|published]
//
// An entry is acknowledged when it is in the tree and synced to disk (`integrated`), or when a checkpoint covers it too
// (`published`). Without the batch options and the interval, Tessera's own defaults hold.
package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

// options are the command line.
type options struct {
	dir        string
	seconds    float64
	entries    int64
	goroutines int
	size       int
	batchSize  uint
	batchAge   time.Duration
	interval   time.Duration
	ack        string
}

// report is the line that is printed.
type report struct {
	Driver             string  `json:"driver"`
	Version            string  `json:"version"`
	Ack                string  `json:"ack"`
	Goroutines         int     `json:"goroutines"`
	EntryBytes         int     `json:"entry_bytes"`
	BatchSize          uint    `json:"batch_size"`
	BatchAgeMs         float64 `json:"batch_age_ms"`
	CheckpointInterval float64 `json:"checkpoint_interval_ms"`
	Entries            int     `json:"entries"`
	Seconds            float64 `json:"seconds"`
	EntriesPerSecond   float64 `json:"entries_per_s"`
	P50                int64   `json:"p50_us"`
	P99                int64   `json:"p99_us"`
	Max                int64   `json:"max_us"`
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "an empty directory for the log")
	flag.Float64Var(&o.seconds, "seconds", 10, "stop after so many seconds")
	flag.Int64Var(&o.entries, "entries", 0, "stop after so many entries; 0: by time only")
	flag.IntVar(&o.goroutines, "goroutines", 64, "how many append at once")
	flag.IntVar(&o.size, "size", 1400, "bytes of an entry")
	flag.UintVar(&o.batchSize, "batch-size", tessera.DefaultBatchMaxSize, "the most entries of a batch")
	flag.DurationVar(&o.batchAge, "batch-age", tessera.DefaultBatchMaxAge, "how long an entry waits for its batch to fill")
	flag.DurationVar(&o.interval, "checkpoint-interval", tessera.DefaultCheckpointInterval, "the time between checkpoints")
	flag.StringVar(&o.ack, "ack", "integrated", "what an entry waits for: integrated or published")
	flag.Parse()
	if o.dir == "" || flag.NArg() > 0 || o.size < 16 || (o.ack != "integrated" && o.ack != "published") {
		flag.Usage()
		os.Exit(2)
	}
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	appender, shutdown, reader, err := start(ctx, o)
	if err != nil {
		return err
	}
	add := func(entry []byte) error {
		_, err := appender.Add(ctx, tessera.NewEntry(entry))()
		return err
	}
	if o.ack == "published" {
		awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 10*time.Millisecond)
		add = func(entry []byte) error {
			_, _, err := awaiter.Await(ctx, appender.Add(ctx, tessera.NewEntry(entry)))
			return err
		}
	}
	took, elapsed, err := load(o, add)
	if err != nil {
		return err
	}
	if err := shutdown(ctx); err != nil {
		return err
	}
	size, err := reader.IntegratedSize(ctx)
	if err != nil {
		return err
	}
	if size < uint64(len(took)) {
		return fmt.Errorf("%d entries were acknowledged, but the tree has %d", len(took), size)
	}
	return json.NewEncoder(os.Stdout).Encode(summary(o, took, elapsed))
}

func start(ctx context.Context, o options) (*tessera.Appender, func(context.Context) error, tessera.LogReader, error) {
	skey, _, err := note.GenerateKey(rand.Reader, "example.org/bench/log")
	if err != nil {
		return nil, nil, nil, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, nil, nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: o.dir})
	if err != nil {
		return nil, nil, nil, err
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).
		WithBatching(o.batchSize, o.batchAge).WithCheckpointInterval(o.interval)
	return tessera.NewAppender(ctx, driver, options)
}

// load appends until the time or the entries are used up, and gives how long each acknowledgement took.
func load(o options, add func([]byte) error) ([]time.Duration, time.Duration, error) {
	var numbers atomic.Int64
	var group sync.WaitGroup
	took := make([][]time.Duration, o.goroutines)
	failed := make([]error, o.goroutines)
	started := time.Now()
	deadline := started.Add(time.Duration(o.seconds * float64(time.Second)))
	for worker := range o.goroutines {
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Now().Before(deadline) {
				number := numbers.Add(1)
				if o.entries > 0 && number > o.entries {
					return
				}
				entry := entry(number, o.size)
				sent := time.Now()
				err := add(entry)
				if errors.Is(err, tessera.ErrPushback) {
					time.Sleep(time.Millisecond)
					continue
				}
				if err != nil {
					failed[worker] = err
					return
				}
				took[worker] = append(took[worker], time.Since(sent))
			}
		}()
	}
	group.Wait()
	return slices.Concat(took...), time.Since(started), errors.Join(failed...)
}

// entry is never twice the same.
func entry(number int64, size int) []byte {
	data := make([]byte, size)
	for at := 0; at+8 <= size; at += 8 {
		binary.LittleEndian.PutUint64(data[at:], uint64(number)*0x9e37_79b9_7f4a_7c15+uint64(at))
	}
	return data
}

func summary(o options, took []time.Duration, elapsed time.Duration) report {
	slices.Sort(took)
	at := func(share float64) int64 {
		if len(took) == 0 {
			return 0
		}
		return took[int(share*float64(len(took)-1))].Microseconds()
	}
	return report{
		Driver: "tessera-posix", Version: version("github.com/transparency-dev/tessera"), Ack: o.ack,
		Goroutines: o.goroutines, EntryBytes: o.size, BatchSize: o.batchSize,
		BatchAgeMs:         float64(o.batchAge) / float64(time.Millisecond),
		CheckpointInterval: float64(o.interval) / float64(time.Millisecond),
		Entries:            len(took), Seconds: elapsed.Seconds(),
		EntriesPerSecond: float64(len(took)) / elapsed.Seconds(), P50: at(0.5), P99: at(0.99), Max: at(1),
	}
}

// version is that of the module that this program was built with.
func version(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == path {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "unknown"
}

//! Prints a log's verifier key, and then a COSE receipt for each entry of trees of 1 to 20 entries: the entry and its receipt
//! in hexadecimal. It is for readers of RFC 9942 that others wrote.

use std::io::Write as _;

use marque_ledger::{MemoryTiles, Signer, Tree, cose_receipt, inclusion_proof, leaf_hash, verify_cose_receipt};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let signer = Signer::from_seed("ledger.example/log", [1; 32])?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", signer.verifier())?;
    let mut tree = Tree::default();
    for size in 1..=20u64 {
        tree.push(leaf_hash(&entry(size - 1)), &mut Vec::new());
        let mut tiles = MemoryTiles::default();
        tiles.extend(tree.partial_tiles());
        for index in 0..size {
            let path = inclusion_proof(index, size, &tiles)?;
            let receipt = cose_receipt(&signer, index, size, &path, tree.root())?;
            verify_cose_receipt(&receipt, &entry(index), &signer.verifier())?;
            writeln!(out, "{} {}", hex(&entry(index)), hex(&receipt))?;
        }
    }
    Ok(())
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Vectors that were made with another implementation, and those of the specifications.

use marque_ledger::{Checkpoint, Hash, Verifier, WitnessVerifier, leaf_hash, open};

use crate::sample::{ORIGIN, SAMPLE, cosigned, sample_note, signer, witness};

#[test]
fn roots() {
    let golden = [
        (0, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        (1, "2zQm6HgGjSjSabbIcXIyLOU3K2V1bQeJAB00g19gHAM="),
        (2, "ywCYnZSlacCmeK4EK2Pc1GJduWRAUX83put5duok7Us="),
        (3, "cl1SMNto9VdHDcNfHYhlgTrNfrsHrRUndBQd7LrnEyc="),
        (7, "o+I7Msy2v5bQktFl2KpUbgmCnejwOw6JV1gdHha5K98="),
        (256, "goUV0DPBnYyQHzfsy4rtkZZncDSG+NL/8c9wQDIcXbE="),
        (257, "HtoEmkNR2G92JSvX7At3Rq11t/oDFq1fVB29pFijEsQ="),
        (1000, "Y4r6mAIpJbrP3a2xXvIv0BmcGsmcKXO2FYJD0T/OBcI="),
    ];
    for (size, root) in golden {
        assert_eq!(SAMPLE.roots[size].to_string(), root, "{size}");
    }
    assert_eq!(leaf_hash(b"0"), SAMPLE.roots[1]);
}

#[test]
fn keys() {
    let log = "ledger.example/log+7cc83a9d+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
    assert_eq!(log.parse::<Verifier>(), Ok(signer().verifier()));
    let vkey = "witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";
    assert_eq!(vkey.parse::<WitnessVerifier>(), Ok(witness(1).verifier()));
}

#[test]
fn a_cosigned_checkpoint() {
    let note = cosigned(&sample_note(1000), &[(1, 1_700_000_000)]);
    let golden = "ledger.example/log\n\
                  1000\n\
                  Y4r6mAIpJbrP3a2xXvIv0BmcGsmcKXO2FYJD0T/OBcI=\n\
                  \n\
                  \u{2014} ledger.example/log fMg6nUVghUigzOI7or28FgTj60QJx4ZJYfqqJeSi8scsz4TgN0XZpSYkpWaNeFWgt1ccIgx0Q/EwRC51\
                  50gaICU9kQU=\n\
                  \u{2014} witness.example/w1 3xwKNQAAAABlU/EAJ6JGVahhEMZAnWYYCbqOWkctqrqheU6wKxWKUDcJu0WGLQVDqdUX87Ac49/SX6Svlk\
                  Gq59L2v4uNtZvY/hUDBg==\n";
    assert_eq!(note, golden);
    assert_eq!(Checkpoint::open(golden, ORIGIN, &[signer().verifier()]).unwrap().size, 1000);
    assert_eq!(witness(1).verifier().verify(golden), Ok(Some(1_700_000_000)));
}

#[test]
fn the_note_of_signed_note() {
    let vkey: Verifier = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".parse().unwrap();
    let note = "This is an example message.\n\
                \n\
                \u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72Ineya\
                QM=\n";
    assert_eq!(open(note, &[vkey]).unwrap().text, "This is an example message.\n");
}

#[test]
fn the_checkpoint_of_tlog_cosignature_is_read() {
    let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint: Checkpoint = text.parse().unwrap();
    assert_eq!((checkpoint.size, checkpoint.body().as_str()), (20_852_163, text));
    assert_eq!(Hash::from_base64("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="), Ok(checkpoint.root));
}

//! The room that files and batches may take: of all together, and of each key.

use super::*;

#[test]
fn what_is_kept_is_bounded() {
    let place = Place::new(StoreLimits { files: 3, unfinished: 1, total_bytes: 150_000, ..LIMITS });
    let everybody = Owner::default();
    let mut large = Upload::begin(&place.store, &everybody).unwrap();
    assert_eq!(large.write(&[b'x'; 100_001]), Err(StoreError::FileTooLarge { limit: 100_000 }));
    large.write(&[b'x'; 100_000]).unwrap();
    let mut other = Upload::begin(&place.store, &everybody).unwrap();
    assert_eq!(other.write(&[b'x'; 60_000]), Err(StoreError::NoRoom { bound: Bound::All(150_000) }));
    other.write(&[b'x'; 40_000]).unwrap();
    drop(large);
    other.write(&[b'x'; 60_000]).unwrap();
    drop(other);
    assert_eq!(place.store.lock().bytes, 0);
    let files: Vec<_> = (0..3).map(|_| place.upload(&everybody, "x\n")).collect();
    let refused = Upload::begin(&place.store, &everybody);
    assert!(matches!(refused, Err(StoreError::TooManyFiles { bound: Bound::All(3) })));
    let batch = place.store.create(&everybody, asked(&files[0].id, 60)).unwrap();
    let refused = place.store.create(&everybody, asked(&files[1].id, 60));
    assert_eq!(refused, Err(StoreError::TooManyBatches { bound: Bound::All(1) }));
    assert!(matches!(place.store.delete(&everybody, &files[0].id), Err(StoreError::InUse { .. })));
    place.store.cancel(&everybody, &batch.id).unwrap();
    place.store.delete(&everybody, &files[1].id).unwrap();
    assert!(matches!(place.store.delete(&everybody, &files[1].id), Err(StoreError::NoFile { .. })));
    let left = std::fs::read_dir(place.folder.path().join("files")).unwrap().count();
    assert_eq!(left, 4, "contents and records of two files");
}

#[test]
fn a_key_may_use_its_part_of_the_room_and_leaves_the_rest_to_others() {
    let limits = StoreLimits { files: 4, unfinished: 2, total_bytes: 180_000, key_percent: 50, ..LIMITS };
    let place = Place::new(limits);
    let [a, b] = ["a", "b"].map(owner);
    let mut large = Upload::begin(&place.store, &a).unwrap();
    large.write(&[b'x'; 80_000]).unwrap();
    assert_eq!(large.write(&[b'x'; 10_001]), Err(StoreError::NoRoom { bound: Bound::Key(90_000) }));
    let mut other = Upload::begin(&place.store, &b).unwrap();
    other.write(&[b'x'; 90_000]).unwrap();
    drop((large, other));
    let files: Vec<_> = (0..2).map(|_| place.upload(&a, "x\n")).collect();
    assert!(matches!(Upload::begin(&place.store, &a), Err(StoreError::TooManyFiles { bound: Bound::Key(2) })));
    place.store.create(&a, asked(&files[0].id, 60)).unwrap();
    let refused = place.store.create(&a, asked(&files[1].id, 60)).unwrap_err();
    assert_eq!(refused, StoreError::TooManyBatches { bound: Bound::Key(1) });
    assert!(refused.to_string().contains("1 for one key (batches.key_percent)"), "{refused}");
    let file = place.upload(&b, "x\n");
    place.store.create(&b, asked(&file.id, 60)).unwrap();
    place.store.delete(&a, &files[1].id).unwrap();
    place.upload(&a, "x\n");
}

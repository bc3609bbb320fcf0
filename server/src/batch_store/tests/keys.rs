//! Batches whose keys are withdrawn.

use super::*;
use crate::access::{KeyRing, KeySources, NewKey};

fn ring(keys: &[&NewKey]) -> KeyRing {
    let listed = keys.iter().map(|key| key.line.clone()).collect();
    KeySources { listed, ..KeySources::default() }.read().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_key_is_withdrawn_fails_with_the_results_that_are_there() {
    let [kept, withdrawn] = ["kept", "withdrawn"].map(|name| NewKey::make(&KeyName::new(name).unwrap()));
    let mut place = Place::new(LIMITS);
    place.keys = Keys::of(ring(&[&kept, &withdrawn]));
    place.start();
    let text =
        requests(2, 0) + &requests(6, 60_000).lines().skip(2).map(|line| format!("{line}\n")).collect::<String>();
    let batch = place.batch(&owner("withdrawn"), &text, 60);
    let other = place.batch(&owner("kept"), &requests(2, 100), 60);
    place.until(&batch.id, |batch| batch.counts.completed == 2).await;
    place.keys.replace(ring(&[&kept]));
    let ended = place.ended(&batch.id).await;
    assert_eq!((ended.status, ended.errors[0].code.as_str()), (BatchStatus::Failed, "key_withdrawn"));
    assert_eq!((ended.counts.completed, ended.counts.failed, ended.failed_at.is_some()), (2, 4, true));
    place.check_names(&ended, 6);
    let errors = place.lines(ended.error_file_id.as_ref());
    assert!(errors.iter().all(|error| error["error"]["code"] == "key_withdrawn"), "{errors:?}");
    assert_eq!(place.ended(&other.id).await.status, BatchStatus::Completed);
    // One that was not begun is not begun.
    let late = place.batch(&owner("withdrawn"), &requests(1, 0), 60);
    let ended = place.ended(&late.id).await;
    assert_eq!(
        (ended.status, ended.counts, ended.output_file_id),
        (BatchStatus::Failed, RequestCounts::default(), None)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_key_comes_back_soon_goes_on() {
    let [kept, lost] = ["kept", "lost"].map(|name| NewKey::make(&KeyName::new(name).unwrap()));
    let mut place = Place::new(LIMITS);
    (place.keys, place.withdrawal) = (Keys::of(ring(&[&kept, &lost])), PATIENCE);
    place.start();
    let batch = place.batch(&owner("lost"), &requests(10, 50), 60);
    place.until(&batch.id, |batch| batch.counts.completed >= 2).await;
    place.keys.replace(ring(&[&kept]));
    // Several looks at its key, within which what is under way is given up.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let [before, later] = [0, 200].map(|_| place.store.lock().batches[&batch.id].clone());
    assert_eq!((before.status, before.counts), (BatchStatus::InProgress, later.counts), "it waits for its key");
    assert!(before.counts.completed < 10, "{before:?}");
    place.keys.replace(ring(&[&kept, &lost]));
    let ended = place.ended(&batch.id).await;
    assert_eq!((ended.status, ended.counts.completed), (BatchStatus::Completed, 10));
    place.check_names(&ended, 10);
}

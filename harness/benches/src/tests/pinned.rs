//! Keys of cells do not change by accident: whoever has results would compute them again. The
//! made-up world's plugins have names in place of the hashes of their libraries, so that a build
//! changes nothing here.

use harness_contract::canonical::sha256_hex;

use crate::test_world::World;

/// Each bench with the number of its cells and a hash of their sorted keys. A
/// change that is meant stands in the changelog.
const PINNED: [(&str, usize, &str); 17] = [
    ("autointerp", 216, "6a63d32c4ef7fe4f"),
    ("decoding-order", 20, "608ee949c300262e"),
    ("fidelity", 72, "4d548d2310a6b5f5"),
    ("fig10", 220, "840db57b3286c0a9"),
    ("fig11", 20, "608ee949c300262e"),
    ("fig12", 12, "78803d0bf7485fe7"),
    ("fig3", 36, "813cd7ec6f5a63fe"),
    ("fig4", 20, "608ee949c300262e"),
    ("fig5", 20, "608ee949c300262e"),
    ("fig6", 25, "fad585ae8a727060"),
    ("fig7", 36, "7bdbdf8888980ddb"),
    ("fig8", 36, "7bdbdf8888980ddb"),
    ("fig9", 220, "503bc245f04484d6"),
    ("table2", 440, "37e00bf8d5abe768"),
    ("table4", 48, "e720207478df456e"),
    ("transfer", 24, "23717bbaedf71d22"),
    ("transfer-rollouts", 13, "ff1f3cf12329e6e9"),
];

#[test]
fn keys_of_cells_are_those_of_earlier_versions() {
    let world = World::made_up();
    let found = PINNED.map(|(bench, ..)| {
        let mut keys: Vec<String> = (world.plan(bench).unwrap().cells.into_iter())
            .map(|cell| cell.key)
            .collect();
        keys.sort_unstable();
        let hash = sha256_hex(keys.join("\n").as_bytes());
        (bench, keys.len(), hash[..16].to_owned())
    });
    for (found, pinned) in found.iter().zip(PINNED) {
        assert_eq!((found.0, found.1, found.2.as_str()), pinned);
    }
}

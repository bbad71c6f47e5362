//! Looking into sketches, and adding to them: hashes while they are few, then registers. See the contract of the room.

use super::*;

/// Whether a loaded sketch has seen the hash, or cannot tell it from one it has.
pub fn covers(key: SketchKey<'_>, hash: u64) -> Covers {
    let Some(all) = sketches() else { return Covers::Unknown };
    let hashed = Hashed::new(&all, key);
    if let Some((number, generation)) = recall(&hashed) {
        // SAFETY: only atomics are read; the generation says whether they are still this key's.
        let entry = unsafe { &*all.entry(number) };
        if entry.generation.load(Ordering::Acquire) == generation {
            let covered = holds(&all, number, entry, hash);
            fence(Ordering::Acquire);
            if entry.generation.load(Ordering::Relaxed) == generation {
                mark_used(entry);
                return covered;
            }
        }
    }
    let _held = all.lock_shared(hashed.set);
    let Some(number) = hashed.find(&all) else { return Covers::Unknown };
    // SAFETY: the shared lock keeps the entry its key's.
    let entry = unsafe { &*all.entry(number) };
    if entry.state.load(Ordering::Relaxed) != LOADED {
        return Covers::Unknown;
    }
    mark_used(entry);
    remember(&hashed, number, entry.generation.load(Ordering::Relaxed));
    holds(&all, number, entry, hash)
}

fn mark_used(entry: &Entry) {
    // A store each time would make the line travel between cores.
    if entry.used.load(Ordering::Relaxed) == 0 {
        entry.used.store(1, Ordering::Relaxed);
    }
}

fn holds(all: &Sketches, number: usize, entry: &Entry, hash: u64) -> Covers {
    let held = if entry.hashes.load(Ordering::Relaxed) == IS_REGISTERS {
        let (index, rank) = parameters().place(hash);
        all.registers(number)[index].load(Ordering::Relaxed) >= rank
    } else if hash == 0 {
        entry.has_zero.load(Ordering::Relaxed) != 0
    } else {
        probe(all.hashes(number), hash).is_ok()
    };
    if held { Covers::Yes } else { Covers::No }
}

/// Where the hash is, or where it would go.
fn probe(places: &[AtomicU64], hash: u64) -> Result<usize, usize> {
    // The upper bits: the lower ones are what registers are chosen by, and a full table has all of them.
    let first = (hash >> 40) as usize % HASH_PLACES;
    for step in 0..HASH_PLACES {
        let at = (first + step) % HASH_PLACES;
        match places[at].load(Ordering::Relaxed) {
            0 => return Err(at),
            found if found == hash => return Ok(at),
            _ => {}
        }
    }
    // A table read while it turned into registers: the generation tells.
    Err(first)
}

/// A loaded sketch, copied.
pub fn get(key: SketchKey<'_>) -> Option<Sketch> {
    let all = sketches()?;
    let hashed = Hashed::new(&all, key);
    let _held = all.lock_shared(hashed.set);
    let number = hashed.find(&all)?;
    // SAFETY: the shared lock keeps the entry its key's.
    let entry = unsafe { &*all.entry(number) };
    if entry.state.load(Ordering::Relaxed) != LOADED {
        return None;
    }
    mark_used(entry);
    Some(copy(&all, number, entry))
}

fn copy(all: &Sketches, number: usize, entry: &Entry) -> Sketch {
    if entry.hashes.load(Ordering::Relaxed) == IS_REGISTERS {
        let registers = all.registers(number).iter().map(|r| r.load(Ordering::Relaxed)).collect();
        return Sketch::from_registers(parameters(), registers);
    }
    let mut hashes: Vec<i64> = all
        .hashes(number)
        .iter()
        .map(|place| place.load(Ordering::Relaxed) as i64)
        .filter(|hash| *hash != 0)
        .collect();
    if entry.has_zero.load(Ordering::Relaxed) != 0 {
        hashes.push(0);
    }
    Sketch::from_hashes(parameters(), hashes)
}

/// Adds committed visits to a sketch that is in memory, loaded or being loaded.
pub fn add(key: SketchKey<'_>, visits: &Sketch) {
    let Some(all) = sketches() else { return };
    let hashed = Hashed::new(&all, key);
    {
        let _held = all.lock_shared(hashed.set);
        let Some(number) = hashed.find(&all) else { return };
        // SAFETY: the shared lock keeps the entry its key's.
        let entry = unsafe { &*all.entry(number) };
        if entry.hashes.load(Ordering::Relaxed) == IS_REGISTERS {
            raise_all(&all, number, visits);
            return;
        }
    }
    let _held = all.lock_exclusive(hashed.set);
    if let Some(number) = hashed.find(&all) {
        take_in(&all, number, visits);
    }
}

/// Adds to an entry, whatever it holds. The caller holds the exclusive lock.
pub(super) fn take_in(all: &Sketches, number: usize, visits: &Sketch) {
    // SAFETY: exclusive under the set's lock.
    let entry = unsafe { &*all.entry(number) };
    let Some(hashes) = visits.explicit() else {
        turn_into_registers(all, number, entry);
        raise_all(all, number, visits);
        return;
    };
    for &hash in hashes {
        let held = entry.hashes.load(Ordering::Relaxed);
        let hash = hash as u64;
        if held == IS_REGISTERS {
            raise(all, number, hash);
        } else if hash == 0 {
            entry.has_zero.store(1, Ordering::Relaxed);
        } else if let Err(at) = probe(all.hashes(number), hash) {
            let zero = entry.has_zero.load(Ordering::Relaxed);
            if held + zero >= MAX_HASHES {
                turn_into_registers(all, number, entry);
                raise(all, number, hash);
            } else {
                all.hashes(number)[at].store(hash, Ordering::Relaxed);
                entry.hashes.store(held + 1, Ordering::Relaxed);
            }
        }
    }
}

/// From hashes to registers, for good. The caller holds the exclusive lock.
fn turn_into_registers(all: &Sketches, number: usize, entry: &Entry) {
    if entry.hashes.load(Ordering::Relaxed) == IS_REGISTERS {
        return;
    }
    // Readers without the lock find by the generation that the bytes mean something else now.
    entry.generation.store(0, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    let before = copy(all, number, entry);
    clear(all, number);
    entry.hashes.store(IS_REGISTERS, Ordering::SeqCst);
    raise_all(all, number, &before);
    if entry.has_zero.load(Ordering::Relaxed) != 0 {
        raise(all, number, 0);
    }
    entry.generation.store(all.draw_generation(), Ordering::SeqCst);
}

pub(super) fn clear(all: &Sketches, number: usize) {
    all.hashes(number).iter().for_each(|place| place.store(0, Ordering::Relaxed));
}

fn raise_all(all: &Sketches, number: usize, visits: &Sketch) {
    match (visits.explicit(), visits.registers()) {
        (Some(hashes), _) => hashes.iter().for_each(|hash| raise(all, number, *hash as u64)),
        (_, Some(registers)) => {
            for (register, value) in all.registers(number).iter().zip(registers) {
                raise_register(register, *value);
            }
        }
        _ => {}
    }
}

fn raise(all: &Sketches, number: usize, hash: u64) {
    let (index, rank) = parameters().place(hash);
    raise_register(&all.registers(number)[index], rank);
}

fn raise_register(register: &AtomicU8, value: u8) {
    if register.load(Ordering::Relaxed) < value {
        register.fetch_max(value, Ordering::Relaxed);
    }
}

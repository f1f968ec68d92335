//! The command line as an ordinary user, a careless one and a hostile file meet it.
//!
//! Every test runs the real program in a folder of its own, on nets so small that a whole walk takes a tenth of a
//! second. `#[cfg(test)]` says nothing new to the compiler; it tells clippy that helpers of tests are test code, too.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod compare;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod desk;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod disk;
#[cfg(test)]
mod judge;
#[cfg(test)]
#[cfg(unix)]
mod kill;
#[cfg(test)]
#[cfg(unix)]
mod lock;
#[cfg(test)]
mod misuse;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod peek;
#[cfg(test)]
mod risk;
#[cfg(test)]
#[cfg(unix)]
mod signals;
#[cfg(test)]
mod walk;

//! Series: the numbers in a return value, and what is odd about one of them.
//!
//! Owns which parts of a value are points of which series ([`observe`]) and how a point is judged ([`judge`]), and which of many points
//! a chart needs ([`largest_triangles`]). Pure: no clock, no
//! SQL. In the flow it stands between what `run()` returned and the rows of `observation`.

mod number;

mod observe;

mod judge;

mod downsample;

pub use downsample::largest_triangles;
pub use judge::{Judgement, Past, judge};
pub use number::{is_storable, parse_number};
pub use observe::{Kind, MAX_NAME_CHARACTERS, MAX_POINTS, MAX_SERIES, Observation, Observed, observe};

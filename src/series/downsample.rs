//! Fewer points that look the same: largest triangle, three buckets.
//!
//! After Sveinn Steinarsson, "Downsampling Time Series for Visual Representation" (2013): the points are divided into as many
//! buckets as are wanted; of each, the one is kept that makes the largest triangle with the one kept before it and the mean of
//! the bucket behind it. The first and the last point always stay.

/// Positions of at most `wanted` points of `points` (x, y), in order. `x` must not fall. Fewer than three cannot be chosen well:
/// two are the first and the last.
pub fn largest_triangles(points: &[(f64, f64)], wanted: usize) -> Vec<usize> {
    if points.len() <= wanted {
        return (0..points.len()).collect();
    }
    match wanted {
        0 => return Vec::new(),
        1 => return vec![points.len() - 1],
        2 => return vec![0, points.len() - 1],
        _ => {}
    }
    let buckets = wanted - 2;
    let inner = points.len() - 2;
    let begin = |bucket: usize| 1 + bucket * inner / buckets;
    let mut kept = Vec::with_capacity(wanted);
    kept.push(0);
    for bucket in 0..buckets {
        let behind = if bucket + 1 < buckets {
            begin(bucket + 1)..begin(bucket + 2)
        } else {
            points.len() - 1..points.len()
        };
        let mean = mean(&points[behind]);
        let last = points[kept[kept.len() - 1]];
        let mut best = (begin(bucket), f64::NEG_INFINITY);
        let own = begin(bucket)..begin(bucket + 1);
        for (at, point) in own.clone().zip(&points[own]) {
            let area = area(last, *point, mean);
            if area > best.1 {
                best = (at, area);
            }
        }
        kept.push(best.0);
    }
    kept.push(points.len() - 1);
    kept
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len().max(1) as f64;
    let (x, y) = points
        .iter()
        .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (x / count, y / count)
}

/// Twice the area of a triangle.
fn area(one: (f64, f64), two: (f64, f64), three: (f64, f64)) -> f64 {
    ((one.0 - three.0) * (two.1 - one.1) - (one.0 - two.0) * (three.1 - one.1)).abs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_peak_among_many_points_stays() {
        let points: Vec<(f64, f64)> = (0..10_000)
            .map(|at| (f64::from(at), if at == 4711 { 99.0 } else { f64::from(at % 3) }))
            .collect();
        let kept = largest_triangles(&points, 50);
        assert_eq!(kept.len(), 50);
        assert!(kept.contains(&4711));
    }

    #[test]
    fn few_points_are_all_of_them() {
        let points = [(0.0, 1.0), (1.0, 2.0), (2.0, 0.0)];
        assert_eq!(largest_triangles(&points, 3), [0, 1, 2]);
        assert_eq!(largest_triangles(&points, 2), [0, 2]);
        assert_eq!(largest_triangles(&points, 1), [2]);
        assert!(largest_triangles(&points, 0).is_empty());
        assert!(largest_triangles(&[], 5).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_in_order_within_the_points_and_as_many_as_wanted(
            values in proptest::collection::vec(-1e9..1e9_f64, 0..400), wanted in 3_usize..100
        ) {
            let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(at, value)| (at as f64, *value)).collect();
            let kept = largest_triangles(&points, wanted);
            prop_assert_eq!(kept.len(), wanted.min(points.len()));
            prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(kept.iter().all(|at| *at < points.len()));
            if let (Some(first), Some(last)) = (kept.first(), kept.last()) {
                prop_assert_eq!((*first, *last), (0, points.len() - 1));
            }
        }
    }
}
